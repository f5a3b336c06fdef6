"""Losses. The targets of a batch are computed once, however many subnets are trained on it.

targets = loss.targets(batch)
for arch in subnets:
    loss(supernet(batch.images, arch), targets).backward()
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..data.base import Batch
from ..utils.errors import InputError

Targets = TypeVar("Targets")


class Loss(ABC, Generic[Targets]):
    """A loss on a batch's labels."""

    @abstractmethod
    def targets(self, batch: Batch) -> Targets:
        """Return what `__call__` compares outputs with."""

    @abstractmethod
    def __call__(self, outputs: Tensor, targets: Targets) -> Tensor:
        """Return the loss, a scalar, of a network's outputs for the batch's images."""


class DistillationLoss(ABC, Generic[Targets]):
    """A loss on another network's outputs."""

    @abstractmethod
    def targets(self, teacher_outputs: Tensor) -> Targets:
        """Return what `__call__` compares outputs with; no gradient flows into the teacher's outputs."""

    @abstractmethod
    def __call__(self, outputs: Tensor, targets: Targets) -> Tensor:
        """Return the loss, a scalar, of a network's outputs for the same images as the teacher's."""


@dataclass(frozen=True)
class CrossEntropyLoss(Loss[Tensor]):
    """Cross-entropy of logits (N, classes) with class indices (N,).

    `label_smoothing` is the fraction of the target probability that is spread evenly over the classes. With
    `class_weights`, (classes,), each image's loss is multiplied by its class's weight before the mean over the batch.
    """

    label_smoothing: float = 0.0
    class_weights: Tensor | None = None

    def targets(self, batch: Batch) -> Tensor:
        return batch.labels

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.class_weights is None:
            return cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)
        losses = cross_entropy(outputs, targets, label_smoothing=self.label_smoothing, reduction="none")
        return (self.class_weights[targets] * losses).mean()


@dataclass(frozen=True)
class FunctionLoss(Loss[Tensor]):
    """A function of a program: a scalar of logits (N, classes) and class indices (N,).

    Raises:
        InputError: It returned something else.
    """

    function: Callable[[Tensor, Tensor], Tensor]

    def targets(self, batch: Batch) -> Tensor:
        return batch.labels

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        loss: object = self.function(outputs, targets)
        if not isinstance(loss, Tensor):
            raise InputError(f"the loss is of the type {type(loss).__name__}; return a tensor with a single value")
        if loss.numel() != 1 or not loss.requires_grad:
            raise InputError(
                f"the loss has the shape {tuple(loss.shape)} and {'a' if loss.requires_grad else 'no'} gradient; "
                "return a single value that is computed from the outputs"
            )
        return loss.reshape(())


def balanced_class_weights(labels: Tensor, classes: int) -> Tensor:
    """Return weights of classes that are inversely proportional to their numbers of images.

    A class's weight is `images / (classes with images * images of the class)`, that of scikit-learn's
    `class_weight="balanced"`, so that the mean weight of the images is 1. A class without images has weight 0.

    Args:
        labels: Class indices (N,) of the training images.
        classes: The number of classes.

    Returns:
        Weights (classes,).

    Example:
        >>> import torch
        >>> balanced_class_weights(torch.tensor([0, 0, 0, 1]), 3)
        tensor([0.6667, 2.0000, 0.0000])
    """
    counts = labels.bincount(minlength=classes)
    present = counts > 0
    weights = len(labels) / (int(present.sum()) * counts.clamp(min=1).double())
    return (weights * present).float()


@dataclass(frozen=True)
class SoftCrossEntropyLoss(DistillationLoss[Tensor]):
    """Cross-entropy of logits (N, classes) with a teacher's soft labels (Hinton et al., 2015, section 2).

    Multiplied by the temperature squared, so that its gradients keep their size.
    """

    temperature: float = 1.0

    def targets(self, teacher_outputs: Tensor) -> Tensor:
        return (teacher_outputs.detach() / self.temperature).softmax(1)

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.temperature**2 * cross_entropy(outputs / self.temperature, targets)


@dataclass(frozen=True)
class AlphaDivergenceLoss(DistillationLoss[Tensor]):
    """Adaptive alpha-divergence of logits (N, classes) from a teacher's (Wang et al., ICML 2021, section 3).

    The divergence of a network's probabilities q from a teacher's p is sum(q * ((p / q)^a - 1)) / (a * (a - 1)); for
    a = 1 it is the KL divergence sum(p * log(p / q)). A small a weighs classes that only the network holds probable, a
    large a those that only the teacher does. Each image's loss is the larger of those for `alpha_min` and `alpha_max`.
    But for a = 1, the weights (p / q)^a are at most `max_weight`, in the loss and in its gradient, so that their
    variance stays small. The defaults are those that the authors train with.
    """

    alpha_min: float = -1.0
    alpha_max: float = 1.0
    max_weight: float = 5.0

    def targets(self, teacher_outputs: Tensor) -> Tensor:
        return teacher_outputs.detach().float().log_softmax(1)

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        log_probabilities = outputs.float().log_softmax(1)
        smaller, with_gradient_of_smaller = self._divergence(log_probabilities, targets, self.alpha_min)
        larger, with_gradient_of_larger = self._divergence(log_probabilities, targets, self.alpha_max)
        return torch.where(smaller > larger, with_gradient_of_smaller, with_gradient_of_larger).mean()

    def _divergence(self, log_probabilities: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
        """Return the divergence of every image (N,), and the same with a gradient, whose weights are constants."""
        log_ratio = targets - log_probabilities.detach()
        if alpha == 1:
            weights = targets.exp()
            divergence = (weights * log_ratio).sum(1)
        else:
            probabilities = log_probabilities.detach().exp()
            ratio = (alpha * log_ratio).exp().clamp(max=self.max_weight)
            weights = probabilities * ratio / alpha
            divergence = (probabilities * (ratio - 1)).sum(1) / (alpha * (alpha - 1))
        surrogate = -(weights * log_probabilities).sum(1)  # its gradient is that of the divergence
        return divergence, divergence + surrogate - surrogate.detach()


def teacher_outputs(batch: Batch) -> Tensor:
    """Return the teacher's outputs that a training has added to a batch."""
    assert batch.teacher_outputs is not None, "a training with a teacher adds its outputs to every batch"
    return batch.teacher_outputs


class TeacherTargets(NamedTuple):
    """Targets of a `TeacherLoss`."""

    of_labels: Any
    of_teacher: Any


@dataclass(frozen=True)
class TeacherLoss(Loss[TeacherTargets]):
    """A loss on the labels and, with `weight`, a distillation loss on a teacher's outputs (Hinton et al., 2015).

    The teacher is evaluated once a batch.
    """

    teacher: Callable[[Batch], Tensor] = teacher_outputs  # returns another network's outputs for the batch's images
    label_loss: Loss[Any] = field(default_factory=CrossEntropyLoss)
    distillation_loss: DistillationLoss[Any] = field(default_factory=SoftCrossEntropyLoss)
    weight: float = 0.5

    def targets(self, batch: Batch) -> TeacherTargets:
        return TeacherTargets(
            of_labels=self.label_loss.targets(batch), of_teacher=self.distillation_loss.targets(self.teacher(batch))
        )

    def __call__(self, outputs: Tensor, targets: TeacherTargets) -> Tensor:
        label_loss = self.label_loss(outputs, targets.of_labels)
        distillation_loss = self.distillation_loss(outputs, targets.of_teacher)
        return (1 - self.weight) * label_loss + self.weight * distillation_loss
