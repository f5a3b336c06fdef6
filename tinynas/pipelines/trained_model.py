"""Trained models with and without early exits, in the one form that the commands eval, predict and export use."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ..arch.cost import Cost, cost
from ..data.base import Data, Split
from ..early_exit.model import EarlyExitModel, worst_case_cost
from ..early_exit.model_file import has_early_exits, read_early_exits
from ..experiment.evaluation_report import Evaluation
from ..experiment.export_report import EarlyExitExportReport, ExportReport
from ..experiment.plans import ExportPlan
from ..experiment.reporter import ProgressReporter
from ..models.batchnorm import recalibrate
from ..models.model_file import Model, read_model
from ..models.network import build
from ..tasks.registry import TASKS
from ..tasks.task import Task
from ..utils.distributed import device
from ..utils.errors import InputError
from ..utils.sizes import Size, format_size
from .export_check import Exported
from .export_early_exit import export_early_exits
from .export_network import export_network
from .model_data import data_of


class TrainedModel(Protocol):
    """A trained model, with or without early exits, and the path of its file."""

    path: Path

    @property
    def main(self) -> Model:
        """The model whose data set, classes and task it has; with early exits, the last exit's model."""
        ...

    @property
    def task(self) -> Task:
        """What it predicts."""
        return TASKS[self.main.net.arch.task]

    def load_data(self, name: str | None, *, skip_unreadable: bool = False) -> Data:
        """Load the data set that it was trained on, or another of the same classes.

        Raises:
            InputError: The data set has other classes.
            FileError: The data set that it was trained on has changed, or a file is missing or corrupt.
        """
        return data_of(self.main, self.path, name, skip_unreadable=skip_unreadable)

    def cost(self) -> Cost:
        """Return the counted cost of an image; with early exits, of one that runs through all of them."""
        ...

    def evaluate(self, data: Data) -> Evaluation:
        """Return the metrics on the test split, then the cost; with early exits, MACs are those of an average image."""
        ...

    def predictions(self, data: Data, split: Split) -> tuple[list[Any], list[Any]]:
        """Return the predictions on a split of the data set, and the truths, as `Task.predict` does."""
        ...

    def resized(self, resolution: Size, data: Data) -> "TrainedModel":
        """Return the model for another image size, its batch-norm statistics recalibrated on training images.

        Raises:
            InputError: The model takes images of one size only.
        """
        ...

    def predict(self, image: Tensor, threshold: float) -> dict[str, Any]:
        """Return the prediction for one image, uint8 (C, H, W), as plain data; boxes score more than the threshold."""
        ...

    def export(
        self, plan: ExportPlan, data: Data, *, report: ProgressReporter
    ) -> Exported[ExportReport] | Exported[EarlyExitExportReport]:
        """Export the model, and run the files on the test split.

        Raises:
            FileError: The outputs of an fp32 file differ from those of PyTorch.
            InputError: The model cannot be exported in this format.
        """
        ...


def load_trained(path: Path) -> TrainedModel:
    """Load a trained model; the file itself says whether it has early exits.

    Raises:
        FileError: The file is missing, corrupt, newer than this version reads, or not a tinynas model.
    """
    if has_early_exits(path):
        return TrainedEarlyExits(path, read_early_exits(path))
    return TrainedNetwork(path, read_model(path))


@dataclass
class TrainedNetwork(TrainedModel):
    """A trained model without early exits."""

    path: Path
    model: Model

    @property
    def main(self) -> Model:
        return self.model

    def cost(self) -> Cost:
        return cost(self.model.net.arch)

    def evaluate(self, data: Data) -> Evaluation:
        net, data = self.model.net.to(device()), data.to(device())
        metrics = self.task.evaluate(net, net.arch, data, data.test)
        return Evaluation(**metrics, macs=self.cost().macs, cost=self.cost())

    def predictions(self, data: Data, split: Split) -> tuple[list[Any], list[Any]]:
        net = self.model.net.to(device())
        return self.task.predict(net, net.arch, data, split.to(device()))

    def resized(self, resolution: Size, data: Data) -> "TrainedNetwork":
        arch = self.model.net.arch
        net = build(replace(arch, resolution=resolution)).to(device())
        net.load_state_dict(self.model.net.state_dict())
        if resolution != arch.resolution:
            recalibrate(net, data.to(device()).calibration_batches(resolution))
        return TrainedNetwork(self.path, replace(self.model, net=net.eval()))

    @torch.no_grad()
    def predict(self, image: Tensor, threshold: float) -> dict[str, Any]:
        net = self.model.net.to(device())
        outputs = net(network_input(self.model, image).to(device())).cpu()
        return self.task.describe(outputs, net.arch, self.model.classes, _size(image), threshold)

    def export(self, plan: ExportPlan, data: Data, *, report: ProgressReporter) -> Exported[ExportReport]:
        return export_network(self.model, plan, data, report=report)


@dataclass
class TrainedEarlyExits(TrainedModel):
    """A trained model with early exits."""

    path: Path
    model: EarlyExitModel

    @property
    def main(self) -> Model:
        return self.model.mainnet

    def cost(self) -> Cost:
        return worst_case_cost(self.model)

    def evaluate(self, data: Data) -> Evaluation:
        predictions, truths, macs = self._run(data, data.test)
        metrics = self.task.metrics(predictions, truths, data.classes)
        return Evaluation(**metrics, macs=macs / len(predictions), cost=self.cost())

    def predictions(self, data: Data, split: Split) -> tuple[list[Any], list[Any]]:
        predictions, truths, _ = self._run(data, split)
        return predictions, truths

    def _run(self, data: Data, split: Split) -> tuple[list[Any], list[Any], float]:
        """Return the predictions on a split, the truths, and the MACs of all images."""
        exits = self.model.exits.to(device())
        macs = exits.macs(self.model.example())
        predictions: list[Any] = []
        truths: list[Any] = []
        total = 0.0
        for images, labels in data.evaluation_batches(split.to(device()), self.model.resolution):
            output = exits(images)
            predictions.extend(self.task.decode(output.logits.cpu(), self.main.net.arch))
            truths.extend(self.task.ground_truth(labels, len(images)))
            total += sum(macs[number] for number in output.exits.tolist())
        return predictions, truths, total

    def resized(self, resolution: Size, data: Data) -> "TrainedEarlyExits":
        raise InputError(
            f"a network with early exits has one image size, {format_size(self.model.resolution)} px, not "
            f"{format_size(resolution)}; leave out --resolutions"
        )

    @torch.no_grad()
    def predict(self, image: Tensor, threshold: float) -> dict[str, Any]:
        model, exits = self.model.input_model, self.model.exits.to(device())
        output = exits(network_input(model, image).to(device()))
        number = int(output.exits[0])
        calibrated = (output.logits / exits.temperatures[number]).cpu()
        prediction = self.task.describe(calibrated, model.net.arch, model.classes, _size(image), threshold)
        return {**prediction, "exit": self.model.names[number]}

    def export(self, plan: ExportPlan, data: Data, *, report: ProgressReporter) -> Exported[EarlyExitExportReport]:
        return export_early_exits(self.model, plan, data, report=report)


def network_input(model: Model, image: Tensor) -> Tensor:
    """Return an image, uint8 (C, H, W), as the network takes it: preprocessed and normalised, (1, C, size, size)."""
    arch = model.net.arch
    pixels = TASKS[arch.task].preprocess(image, arch.resolution, model.crop, model.interpolation)
    return model.normalise(pixels[None])


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]
