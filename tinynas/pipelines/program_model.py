"""A trained model in a Python program."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from ..arch.cost import Cost
from ..data.images import read_image
from ..data.pixels import list_of_images, to_pixels
from ..experiment.evaluation_report import Evaluation
from ..experiment.export_report import ExportReport
from ..experiment.plans import ExportPlan
from ..experiment.results import RetrainMetrics
from ..experiment.retrain_folder import RetrainFolder
from ..utils.errors import InputError
from ..utils.overrides import Overrides
from .export import export
from .keywords import ExportKeywords
from .program_data import DataSet, data_name
from .program_errors import keywords_in_errors
from .program_progress import Progress, reporter_of
from .trained_model import TrainedNetwork, load_trained, network_input


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a classifier predicts of an image.

    Attributes:
        name: Of the most probable class.
        index: Of that class.
        probabilities: Of all classes (classes,), on the CPU.
    """

    name: str
    index: int
    probabilities: Tensor


@dataclass(frozen=True)
class Box:
    """An object that a detector sees in an image.

    Attributes:
        name: Of its class.
        score: From 0 to 1.
        box: Left, top, right and bottom in pixels.
    """

    name: str
    score: float
    box: tuple[float, float, float, float]


class TrainedModel:
    """A trained network, and the folder of the retraining that wrote it.

    Args:
        path: Its file, model.safetensors.

    Attributes:
        path: Its file.
        module: The network: an ordinary module in eval mode, which takes normalised images (N, C, H, W).
        classes: Names of the classes, in the order of the outputs.
        cost: Counted cost of an inference.

    Raises:
        FileError: The file is missing, corrupt, or not a model of tinynas.
        InputError: It is a model with early exits; `tinynas.load` returns its module.

    Example:
        >>> import torch
        >>> import tinynas
        >>> model = tinynas.open_model("runs/example/retrain/plain")
        >>> (prediction,) = model.predict(torch.rand(1, 1, 28, 28))
        >>> len(prediction.probabilities)
        10
    """

    def __init__(self, path: Path) -> None:
        loaded = load_trained(path)
        if not isinstance(loaded, TrainedNetwork):
            raise InputError(f"{path} is a model with early exits; tinynas.load returns its module")
        self.path = path
        self.module: nn.Module = loaded.model.net
        self.classes = loaded.model.classes
        self.cost: Cost = loaded.cost()
        self._loaded = loaded

    @property
    def metrics(self) -> RetrainMetrics:
        """What the retraining measured: the content of metrics.json. Raises FileError if it is missing."""
        return RetrainFolder(self.path.parent).read_metrics()

    @keywords_in_errors()
    def evaluate(self, data: DataSet | None = None) -> Evaluation:
        """Evaluate the model on the test split of the data set that it was trained on, or of another.

        Args:
            data: Another data set, with the same classes; or the same, if a program made it.

        Returns:
            Its metrics and cost.

        Raises:
            InputError: The data set has other classes.
            FileError: The data set that it was trained on has changed.
        """
        return self._loaded.evaluate(self._loaded.load_data(data_name(data)))

    @keywords_in_errors()
    def predict(self, images: Any) -> list[Prediction]:
        """Predict the classes of images.

        Args:
            images: A batch (N, C, H, W), uint8 or floats from 0 to 1; or a sequence of files' paths, or of images as
                `Datasets` takes them; or one of these. They are resized as in an evaluation.

        Returns:
            A prediction for each image.

        Raises:
            InputError: It is a detector, or an image is none of these.
            FileError: An image file cannot be read.
        """
        if self._loaded.task.predicts_boxes:
            raise InputError("the model is a detector; call `detect`")
        predictions = []
        for number, image in enumerate(list_of_images(images)):
            probabilities = self._outputs(image, f"images[{number}]")[0].softmax(0)
            index = int(probabilities.argmax())
            predictions.append(Prediction(self.classes[index], index, probabilities))
        return predictions

    @keywords_in_errors()
    def prepare(self, images: Any) -> Tensor:
        """Return images as the module takes them: resized as in an evaluation, and normalised.

        Args:
            images: As for `predict`.

        Returns:
            Floats (N, C, resolution, resolution), on the CPU.

        Raises:
            InputError: An image is not as for `predict`.
            FileError: An image file cannot be read.
        """
        inputs = []
        for number, image in enumerate(list_of_images(images)):
            inputs.append(network_input(self._loaded.model, self._pixels(image, f"images[{number}]")))
        if not inputs:
            raise InputError("there are no images; pass one or more")
        return torch.cat(inputs)

    @keywords_in_errors()
    def detect(self, images: Any, *, threshold: float | None = None) -> list[list[Box]]:
        """Detect the objects in images.

        Args:
            images: As for `predict`.
            threshold: Score that a box must exceed. Default: the one with the best F1 on search-val.

        Returns:
            The boxes of each image, in descending order of score.

        Raises:
            InputError: It is a classifier, or an image is none of these.
            FileError: An image file cannot be read.
        """
        if not self._loaded.task.predicts_boxes:
            raise InputError("the model is a classifier; call `predict`")
        score = self._loaded.main.score_threshold if threshold is None else threshold
        detected = []
        for number, image in enumerate(list_of_images(images)):
            pixels = self._pixels(image, f"images[{number}]")
            boxes = []
            for entry in self._loaded.predict(pixels, score)["boxes"]:
                boxes.append(Box(entry["class"], entry["score"], tuple(entry["box"])))
            detected.append(boxes)
        return detected

    @keywords_in_errors()
    def export(
        self,
        to: str = "tflite",
        *,
        out: Path | str | None = None,
        data: DataSet | None = None,
        progress: Progress = False,
        **settings: Unpack[ExportKeywords],
    ) -> ExportReport:
        """Write the model as files for its target, fp32 and int8, and run them on the test split.

        Args:
            to: "onnx", "tflite", or "firmware": TFLite, and a folder of C++ sources that run it on a microcontroller.
            out: Folder to write to; by default that of the model.
            data: The data set, if a program made it, or another one with the same classes.
            progress: True shows messages and progress as the command does; an object of yours receives them.
            **settings: As the options of `tinynas export`.

        Returns:
            The content of export.json: what was written, and what the files measured.

        Raises:
            BudgetError: A file takes more than the limits that the network was searched with.
            FileError: A file computes something else than the model.
            InputError: A setting is unknown, or the model cannot be exported in this format.
        """
        named = {**settings, "to": to}
        plan = ExportPlan(model=self.path, out=Path(out) if out else self.path.parent, data=data_name(data))
        plan = Overrides.read(named, ExportPlan, where="export()").apply(plan)
        with reporter_of(progress) as reporter:
            report = export(plan, report=reporter)
        assert isinstance(report, ExportReport), "the model has no early exits"
        return report

    def _pixels(self, image: Any, name: str) -> Tensor:
        """Return an image, uint8 (C, H, W), with the network's number of channels."""
        channels = self._loaded.model.net.arch.in_channels
        if isinstance(image, str | Path):
            return read_image(image, channels)
        pixels = to_pixels(image, name)
        if len(pixels) != channels:
            raise InputError(f"{name} has {len(pixels)} channels, the network takes {channels}; convert it")
        return pixels

    @torch.no_grad()
    def _outputs(self, image: Any, name: str) -> Tensor:
        """Return the network's outputs (1, ...) for an image."""
        device = next(self.module.parameters()).device
        pixels = network_input(self._loaded.model, self._pixels(image, name))
        outputs: Tensor = self.module(pixels.to(device))
        return outputs.cpu()

    def __repr__(self) -> str:
        return f"TrainedModel({str(self.path)!r}): {len(self.classes)} classes, {self.cost.macs} MACs"
