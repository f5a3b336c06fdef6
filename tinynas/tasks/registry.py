"""What sets kinds of networks apart: what they learn from, what they say of an image, and how good they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..arch.arch import Arch
from ..arch.space import SearchSpace
from ..data.base import Data, Split
from ..utils.errors import InputError, unknown
from .anchors import anchors_of
from .detection import detections
from .detection_loss import boxes_imitated, located
from .losses import Criterion, Imitation, imitated, labelled
from .metrics import accuracy_of, average_precision, confusion, standard_error

Fitted = TypeVar("Fitted", Arch, SearchSpace)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A kind of network."""

    metric: str  # that accuracies are of, in percent
    space: str  # that is searched, unless another is asked for
    data: str  # that comes with the package
    supernet: Mapping[str, Any]  # how its supernets are trained otherwise than others, unless they are told
    retraining: Mapping[str, Any]  # the same of its retrainings
    criterion: Callable[[Arch, float], Criterion]  # of an arch, with this label smoothing
    imitation: Imitation
    answers: Callable[[Tensor, Arch], list[Any]]  # outputs -> what they say of each image
    truths: Callable[[Tensor, int], list[Any]]  # a batch's labels, number of images -> the same as it should be
    grade: Callable[[list[Any], list[Any], Sequence[str]], dict[str, Any]]  # answers, truths, class names -> "accuracy"
    standard_error: Callable[[float, int], float | None]  # of an accuracy measured on this many images, if known

    @torch.no_grad()
    def score(self, model: nn.Module, arch: Arch, data: Data, split: Split) -> dict[str, Any]:
        """Of a model of this arch on a split: "accuracy", "by_class", and more. Puts it into eval mode."""
        model.eval()
        device = next(model.parameters()).device
        answers, truths = [], []
        for images, labels in data.evaluation_batches(split, arch.resolution):
            answers += self.answers(model(images.to(device)).cpu(), arch)
            truths += self.truths(labels, len(images))
        return self.grade(answers, truths, data.classes)

    def measure(self, model: nn.Module, arch: Arch, data: Data, split: Split) -> float:
        """The accuracy over all classes, in percent."""
        return float(self.score(model, arch, data, split)["accuracy"])


def _classified(answers: list[int], truths: list[int], classes: Sequence[str]) -> dict[str, Any]:
    counts = confusion(torch.tensor(answers), torch.tensor(truths), len(classes))
    by_class = 100 * counts.diagonal() / counts.sum(1)
    return {"accuracy": accuracy_of(counts), "by_class": dict(zip(classes, by_class.tolist(), strict=True))}


def _detected(answers: list[Any], truths: list[Any], classes: Sequence[str]) -> dict[str, Any]:
    found = average_precision(answers, truths, len(classes))
    by_class = dict(zip(classes, found.by_class, strict=True))
    return {"accuracy": found.map, "ap50": found.ap50, "by_class": by_class}


TASKS = {
    "classify": Task(
        metric="accuracy",
        space="mobile32",
        data="digits",
        supernet={},
        retraining={},
        criterion=lambda arch, smoothing: labelled(smoothing),
        imitation=imitated,
        answers=lambda outputs, arch: outputs.argmax(1).tolist(),
        truths=lambda labels, images: labels.tolist(),
        grade=_classified,
        standard_error=standard_error,
    ),
    "detect": Task(
        metric="mAP",
        space="detect",
        data="scattered-digits",
        supernet={"epochs": 8, "num_random_subnets": 1, "label_smoothing": 0.0, "distillation": 0.0},
        retraining={"epochs": 16, "label_smoothing": 0.0, "max_grad_norm": 1.0},
        criterion=lambda arch, smoothing: located(arch.detector, smoothing),
        imitation=boxes_imitated,
        answers=lambda outputs, arch: list(detections(outputs, arch.detector, arch.resolution)),
        truths=lambda labels, images: [labels[labels[:, 0] == i, 1:] for i in range(images)],
        grade=_detected,
        standard_error=lambda accuracy, images: None,
    ),
}


def task_named(name: str) -> Task:
    """Raises InputError."""
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name]


def check_task(task: str, data: Data) -> Task:
    """The task of networks, if it is the data's too. Raises InputError."""
    if task != data.task:
        have = {"classify": "labelled images", "detect": "boxes"}[data.task]
        raise InputError(f"networks that {task} cannot learn from {have}; take other --data, or --task {data.task}")
    return TASKS[task]


def fit_to_data(network: Fitted, data: Data) -> Fitted:
    """The arch or search space with the data's input channels and classes and, for detectors, anchors.

    Raises:
        InputError: The data is for another task.
    """
    check_task(network.task, data)
    return network.fitted_to(
        in_channels=data.channels, classes=len(data.classes), fit_anchors=partial(anchors_of, data)
    )
