"""Labels of splits: by class, and of a part of the images."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .base import Split
from .objects import CLASS, KIND, OBJECT


def class_labels(split: Split) -> tuple[Tensor, Tensor]:
    """Return image index and class index of every label of a split: of every image, or of every object (M,).

    Crowds and difficult objects are left out.
    """
    labels = split.labels
    if labels.ndim == 1:
        return torch.arange(len(labels)), labels
    labels = labels[labels[:, 1 + KIND] == OBJECT]
    return labels[:, 0].long(), labels[:, 1 + CLASS].long()


def class_counts(split: Split, classes: Sequence[str]) -> dict[str, int]:
    """Return the number of images, or objects, of each class in a split."""
    _, of_class = class_labels(split)
    return dict(zip(classes, of_class.bincount(minlength=len(classes)).tolist(), strict=True))


def select_labels(labels: Tensor, indices: Tensor) -> Tensor:
    """Return the labels of some images of a split: class indices (N,), or targets (M, 8)."""
    if labels.ndim == 1:
        return labels[indices]
    parts = []
    for position, index in enumerate(indices.tolist()):
        of_image = labels[labels[:, 0] == index].clone()
        of_image[:, 0] = position
        parts.append(of_image)
    return torch.cat(parts)


def original_pixels(split: Split) -> Tensor | None:
    """Return width times height of every original image of a split, (N,), NaN where unknown; None of classifiers'."""
    pixels: Tensor | None = getattr(split, "pixels", None)
    return pixels
