"""What classification and detection do differently: losses, preprocessing, decoding and metrics."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..arch.arch import Arch
from ..arch.detector_head import SIDES
from ..data.base import EVALUATION_BATCH, Data, Split
from ..data.labels import original_pixels
from ..data.transforms import BILINEAR, center_crop, stretch
from ..utils.distributed import device
from ..utils.errors import InputError
from ..utils.sizes import Size
from .average_precision import average_precision, detection_figures
from .cache_batch import images_in_cache
from .chance import Chance, chance_level, standard_error
from .detection import Detections, DetectorWithNMS, detections, distinct
from .detection_loss import DetectionDistillationLoss, DetectionLoss
from .losses import CrossEntropyLoss, DistillationLoss, Loss, SoftCrossEntropyLoss, balanced_class_weights
from .matching import match, voc_precision
from .metrics import accuracy_by_class, accuracy_of, confusion, mean_accuracy

_TOP_CLASSES = 3  # listed in a description of an image


class Task(ABC):
    """What a network predicts, and all that follows from it. Stateless: there is one instance a task, in `TASKS`."""

    name: str  # as in `Arch.task` and `Data.task`
    metric: str  # what "accuracy" stands for, in percent
    label_kind: str  # what a data set's labels are, in words
    stretches: bool  # whether images are stretched to squares; otherwise a square is cropped from the centre
    output_names: tuple[str, ...]  # of a network's outputs in exported files
    final_output_names: tuple[str, ...] = ()  # of the outputs of `with_postprocessing`; empty if it adds nothing
    predicts_boxes: bool = False  # whether predictions have positions and scores, which a threshold selects
    supports_early_exits: bool = False
    supports_racing: bool = False  # whether a prediction is either right or wrong

    @abstractmethod
    def loss(self, arch: Arch, data: Data, *, label_smoothing: float, class_weights: str = "none") -> Loss[Any]:
        """Return the loss on labels.

        Args:
            arch: The network, or the largest of several.
            data: Its training labels decide on the weights of classes.
            label_smoothing: Fraction of the target probability that is spread evenly over the classes.
            class_weights: "none", or "balanced" for weights of `balanced_class_weights`.

        Raises:
            InputError: The task has no weights of classes.
        """

    @abstractmethod
    def distillation_loss(self, temperature: float = 1.0) -> DistillationLoss[Any]:
        """Return the loss on a teacher's outputs."""

    @abstractmethod
    def decode(self, outputs: Tensor, arch: Arch) -> list[Any]:
        """Return the prediction for each image of a network's outputs: class index, or `Detections`."""

    @abstractmethod
    def ground_truth(self, labels: Tensor, images: int) -> list[Any]:
        """Return the true class index, or objects (M, 7), of each of a batch's images."""

    @abstractmethod
    def metrics(
        self, predictions: list[Any], truths: list[Any], classes: Sequence[str], pixels: Tensor | None = None
    ) -> dict[str, Any]:
        """Return "accuracy", and "by_class" by class name, in percent, and what else the task reports.

        A class that does not occur in the truths has None. `pixels` are width times height of every original image,
        (N,), for figures by the size of objects.
        """

    @abstractmethod
    def chance(self, labels: Tensor, classes: Sequence[str]) -> Chance | None:
        """Return the chance level on a split with these labels; None if the task has none."""

    @abstractmethod
    def standard_error(self, accuracy: float, images: int) -> float | None:
        """Return the standard error, in percentage points, of an accuracy on so many images; None if unknown."""

    @abstractmethod
    def num_classes(self, outputs: Tensor) -> int:
        """Return the number of classes of a network's outputs."""

    @abstractmethod
    def convert(self, arch: Arch) -> Arch:
        """Return a network for this task with the arch's stem and stages.

        Raises:
            InputError: The arch is for another task and cannot be converted.
        """

    @abstractmethod
    def check_teacher(self, teacher: Arch, student: Arch) -> None:
        """Check what the shape of a teacher's outputs does not show.

        Raises:
            InputError: The student cannot learn from the teacher's outputs.
        """

    @abstractmethod
    def preprocess(self, image: Tensor, resolution: Size, crop: float, interpolation: str = BILINEAR) -> Tensor:
        """Return what a network sees of an image: uint8 (C, H, W) -> uint8 (C, *resolution).

        `crop` is as in `Data`, and `interpolation` one of INTERPOLATIONS; detectors, which see whole images, ignore
        both.
        """

    @abstractmethod
    def describe(
        self, outputs: Tensor, arch: Arch, classes: Sequence[str], size: tuple[int, int], threshold: float
    ) -> dict[str, Any]:
        """Return the prediction for one image of `size` (height, width) as plain data.

        `outputs` are a network's for that image, (1, ...); boxes are in pixels and score more than the threshold.
        """

    def with_postprocessing(self, net: nn.Module, arch: Arch) -> nn.Module:
        """Return a module that makes the final outputs, `final_output_names`, from one image (1, C, H, W)."""
        return net

    def evaluate(
        self, model: nn.Module, arch: Arch, data: Data, split: Split, *, batch_size: int = EVALUATION_BATCH
    ) -> dict[str, Any]:
        """Return the metrics of a model of this arch on a split; arguments are as in `predict`."""
        predictions, truths = self.predict(model, arch, data, split, batch_size=batch_size)
        return self.metrics(predictions, truths, data.classes, original_pixels(split))

    @torch.no_grad()
    def predict(
        self, model: nn.Module, arch: Arch, data: Data, split: Split, *, batch_size: int = EVALUATION_BATCH
    ) -> tuple[list[Any], list[Any]]:
        """Return the predictions of a model of this arch on a split, and the truths. Puts it into eval mode.

        Batches have at most `batch_size` images, and on a CPU as many as are fastest there.
        """
        model.eval()
        device = next(model.parameters()).device
        if device.type == "cpu":
            batch_size = min(batch_size, images_in_cache(arch))
        predictions: list[Any] = []
        truths: list[Any] = []
        for images, labels in data.evaluation_batches(split, arch.resolution, batch_size):
            predictions += self.decode(model(images.to(device)).cpu(), arch)
            truths += self.ground_truth(labels, len(images))
        return predictions, truths

    def accuracy(
        self, model: nn.Module, arch: Arch, data: Data, split: Split, *, batch_size: int = EVALUATION_BATCH
    ) -> float:
        """Return the task's metric over all classes, in percent, of a model of this arch on a split."""
        return float(self.evaluate(model, arch, data, split, batch_size=batch_size)["accuracy"])


class Classification(Task):
    """One class an image: outputs are logits (N, classes), labels are class indices (N,)."""

    name = "classify"
    metric = "accuracy"
    label_kind = "labelled images"
    stretches = False
    output_names = ("logits",)
    supports_early_exits = True
    supports_racing = True

    def loss(self, arch: Arch, data: Data, *, label_smoothing: float, class_weights: str = "none") -> CrossEntropyLoss:
        if class_weights == "none":
            return CrossEntropyLoss(label_smoothing)
        weights = balanced_class_weights(data.train.labels, arch.classes)
        return CrossEntropyLoss(label_smoothing, weights.to(device()))

    def distillation_loss(self, temperature: float = 1.0) -> SoftCrossEntropyLoss:
        return SoftCrossEntropyLoss(temperature)

    def decode(self, outputs: Tensor, arch: Arch) -> list[int]:
        predictions: list[int] = outputs.argmax(1).tolist()
        return predictions

    def ground_truth(self, labels: Tensor, images: int) -> list[int]:
        truths: list[int] = labels.tolist()
        return truths

    def metrics(
        self, predictions: list[int], truths: list[int], classes: Sequence[str], pixels: Tensor | None = None
    ) -> dict[str, Any]:
        counts = confusion(torch.tensor(predictions), torch.tensor(truths), len(classes))
        by_class = accuracy_by_class(counts)
        return {
            "accuracy": accuracy_of(counts),
            "balanced_accuracy": mean_accuracy(by_class),
            "by_class": dict(zip(classes, by_class, strict=True)),
            "chance": chance_level(counts.sum(1).tolist(), classes),
        }

    def chance(self, labels: Tensor, classes: Sequence[str]) -> Chance:
        return chance_level(labels.bincount(minlength=len(classes)).tolist(), classes)

    def standard_error(self, accuracy: float, images: int) -> float:
        return standard_error(accuracy, images)

    def num_classes(self, outputs: Tensor) -> int:
        return outputs.shape[-1]

    def convert(self, arch: Arch) -> Arch:
        if arch.task != self.name:
            raise InputError(f"networks that {arch.task} cannot be converted to {self.name}; leave out --task")
        return arch

    def check_teacher(self, teacher: Arch, student: Arch) -> None:
        """Do nothing: logits mean the same in every classifier with the same classes."""

    def preprocess(self, image: Tensor, resolution: Size, crop: float, interpolation: str = BILINEAR) -> Tensor:
        return center_crop(image, resolution, crop, interpolation)

    def describe(
        self, outputs: Tensor, arch: Arch, classes: Sequence[str], size: tuple[int, int], threshold: float
    ) -> dict[str, Any]:
        """Return the likeliest classes and their probabilities."""
        probabilities = outputs[0].softmax(0)
        top = probabilities.topk(min(_TOP_CLASSES, len(probabilities)))
        return {"classes": {classes[i]: float(p) for p, i in zip(top.values, top.indices, strict=True)}}


class Detection(Task):
    """Boxes and their classes: outputs (N, P, 4 + classes) as of `DetectionHead`, labels (M, 8), a row an object."""

    name = "detect"
    metric = "mAP"
    label_kind = "boxes"
    stretches = True
    output_names = ("predictions",)
    final_output_names = ("boxes", "scores", "classes")
    predicts_boxes = True

    def loss(self, arch: Arch, data: Data, *, label_smoothing: float, class_weights: str = "none") -> DetectionLoss:
        if class_weights != "none":
            raise InputError(
                f"class weights are for classification, but the network detects; remove --class-weights {class_weights}"
            )
        return DetectionLoss(arch, label_smoothing)

    def distillation_loss(self, temperature: float = 1.0) -> DetectionDistillationLoss:
        return DetectionDistillationLoss(temperature)

    def decode(self, outputs: Tensor, arch: Arch) -> list[Detections]:
        return detections(outputs, arch)

    def ground_truth(self, labels: Tensor, images: int) -> list[Tensor]:
        return [labels[labels[:, 0] == i, 1:] for i in range(images)]

    def metrics(
        self, predictions: list[Detections], truths: list[Tensor], classes: Sequence[str], pixels: Tensor | None = None
    ) -> dict[str, Any]:
        coco = average_precision(predictions, truths, len(classes), pixels)
        figures = detection_figures(coco, voc_precision(match(predictions, truths, len(classes))), classes)
        by_class = dict(zip(classes, coco.by_class, strict=True))
        return {"accuracy": coco.map, "ap50": coco.ap50, "by_class": by_class, "detection": figures}

    def chance(self, labels: Tensor, classes: Sequence[str]) -> None:
        return None

    def standard_error(self, accuracy: float, images: int) -> None:
        return None

    def num_classes(self, outputs: Tensor) -> int:
        return outputs.shape[-1] - SIDES

    def convert(self, arch: Arch) -> Arch:
        return arch.as_detector()

    def check_teacher(self, teacher: Arch, student: Arch) -> None:
        if teacher.task == self.name and teacher.tapped_strides() != student.tapped_strides():
            raise InputError(
                f"teacher and network must predict at the same positions: the teacher reads the feature maps of the "
                f"strides {teacher.tapped_strides()}, the network {student.tapped_strides()}; choose another teacher"
            )

    def preprocess(self, image: Tensor, resolution: Size, crop: float, interpolation: str = BILINEAR) -> Tensor:
        return stretch(image, resolution)

    def describe(
        self, outputs: Tensor, arch: Arch, classes: Sequence[str], size: tuple[int, int], threshold: float
    ) -> dict[str, Any]:
        """Return the boxes, left, top, right and bottom in pixels, with their classes and scores; one for an object."""
        height, width = size
        sides = torch.tensor([width, height, width, height])
        of_image = distinct(detections(outputs, arch, threshold=threshold)[0])
        boxes = []
        for box, score, index in zip(of_image.boxes * sides, of_image.scores, of_image.classes, strict=True):
            boxes.append({"class": classes[index], "score": float(score), "box": box.tolist()})
        return {"boxes": boxes}

    def with_postprocessing(self, net: nn.Module, arch: Arch) -> DetectorWithNMS:
        return DetectorWithNMS(net, arch)
