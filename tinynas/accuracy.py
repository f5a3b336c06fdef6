"""How many images a classifier gets right."""

import math

import torch
from torch import Tensor


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Counts (classes, classes) of class indices (N,): row the label, column the prediction."""
    return torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)


def accuracy_of(counts: Tensor) -> float:
    """Percent on the diagonal of a confusion matrix."""
    return 100 * counts.diagonal().sum().item() / counts.sum().item()


def standard_error(accuracy: float, images: int) -> float:
    """Of an accuracy in percent that was measured on this many images."""
    return math.sqrt(accuracy * (100 - accuracy) / images)
