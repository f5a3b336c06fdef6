"""How good a classifier is: accuracies, counted from a confusion matrix."""

from collections.abc import Sequence

import torch
from torch import Tensor


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the confusion matrix (classes, classes) of class indices (N,): row the label, column the prediction."""
    return torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)


def accuracy_of(counts: Tensor) -> float:
    """Return the percentage on the diagonal of a confusion matrix."""
    return 100 * counts.diagonal().sum().item() / counts.sum().item()


def accuracy_by_class(counts: Tensor) -> list[float | None]:
    """Return the percentage on the diagonal in each row of a confusion matrix; None in a row without images."""
    accuracies: list[float | None] = []
    for correct, images in zip(counts.diagonal().tolist(), counts.sum(1).tolist(), strict=True):
        accuracies.append(100 * correct / images if images else None)
    return accuracies


def mean_accuracy(by_class: Sequence[float | None]) -> float:
    """Return the balanced accuracy: the mean over the classes with images, of which there is at least one."""
    known = [accuracy for accuracy in by_class if accuracy is not None]
    return sum(known) / len(known)
