"""Labels of a program's datasets, checked: class indices, and the objects of images."""

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..utils.errors import InputError
from .objects import complete

_TOLERANCE = 0.5  # pixels by which a box may exceed its image


def class_index(label: Any, classes: int, name: str) -> int:
    """Return a label as a number; False is 0, True is 1.

    Args:
        label: An integer, of Python, NumPy, or a tensor of one element; or a boolean.
        classes: Number of classes.
        name: What the label is called in error messages, such as "the label of train[3]".

    Raises:
        InputError: It is none of these, or there is no such class.
    """
    try:
        index = operator.index(bool(label) if isinstance(label, np.bool_) else label)
    except TypeError:
        raise InputError(f"{name} is {label!r}, of the type {type(label).__name__}; expected a class index") from None
    if not 0 <= index < classes:
        raise InputError(f"{name} is {index}, but there are {classes} classes, 0 to {classes - 1}")
    return index


def objects_of(target: Any, image: Tensor, classes: int, name: str) -> Tensor:
    """Return the objects of an image, (M, 7), as objects.py names their columns.

    Args:
        target: A mapping with "boxes" (M, 4), x1, y1, x2, y2 in pixels, and "labels" (M,).
        image: The image (C, H, W).
        classes: Number of classes.
        name: What the sample is called in error messages, such as "train[3]".

    Raises:
        InputError: It is no such mapping, a box is not within the image, or there is no such class.
    """
    if not isinstance(target, Mapping) or not {"boxes", "labels"} <= set(target):
        raise InputError(f'the target of {name} is not a mapping with "boxes" (M, 4) and "labels" (M,)')
    boxes = _boxes_of(target["boxes"], name)
    labels = torch.as_tensor(target["labels"]).flatten().tolist()
    if len(boxes) != len(labels):
        raise InputError(f"the target of {name} has {len(boxes)} boxes and {len(labels)} labels; one box a label")
    height, width = image.shape[1:]
    for box, label in zip(boxes, labels, strict=True):
        class_index(label, classes, f"a label of {name}")
        x1, y1, x2, y2 = box.tolist()
        is_inside = -_TOLERANCE <= x1 < x2 <= width + _TOLERANCE and -_TOLERANCE <= y1 < y2 <= height + _TOLERANCE
        if not is_inside:
            raise InputError(
                f"a box of {name} is {box.tolist()}, but its image is {width} x {height} pixels; expected x1 < x2 and "
                "y1 < y2 in pixels of the image"
            )
    fractions = (boxes / torch.tensor([width, height, width, height])).clamp(0, 1)
    rows = torch.cat([torch.tensor(labels, dtype=torch.float32).view(-1, 1), fractions], 1)
    return complete(rows, width * height)


def _boxes_of(values: Any, name: str) -> Tensor:
    """Return boxes as floats (M, 4)."""
    try:
        boxes = torch.as_tensor(values, dtype=torch.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"the boxes of {name} are no numbers ({error}); expected (M, 4)") from None
    if boxes.numel() and boxes.shape[1:] != (4,):
        raise InputError(f"the boxes of {name} have the shape {tuple(boxes.shape)}; expected (M, 4)")
    return boxes.view(-1, 4)
