"""Checks of training and held-out examples: labels that fit the classes, outputs that are finite."""

from typing import Any

import torch
from torch import Tensor

from ..utils.errors import InputError
from .inputs import described


def class_indices(labels: Any, *, examples: int, classes: int, start: int = 0) -> Tensor:
    """Return labels as class indices (N,) of 64 bits, on the CPU.

    Args:
        labels: Class indices (N,) of any integer type.
        examples: Number of examples N.
        classes: Number of classes.
        start: Index of the first of these examples among all.

    Raises:
        InputError: They have another shape or type, or an index is not that of a class.
    """
    if not isinstance(labels, Tensor):
        raise InputError(f"labels must be a tensor (N,), but are {described(labels)}; pass torch.as_tensor(labels)")
    if labels.shape != (examples,):
        raise InputError(
            f"labels must have the shape ({examples},), one for each example, but have {tuple(labels.shape)}; "
            "pass class indices"
        )
    if labels.is_floating_point() or labels.is_complex():
        raise InputError(
            f"labels must be integers, but are {labels.dtype}, the first {labels[0].item()}; pass class indices"
        )
    indices = labels.cpu().long()
    wrong = ((indices < 0) | (indices >= classes)).nonzero().flatten()
    if len(wrong):
        number = int(wrong[0])
        raise InputError(
            f"labels must be from 0 to {classes - 1}, but that of example {start + number} is {int(indices[number])}; "
            "pass class indices"
        )
    return indices


def check_finite(values: Tensor, what: str, *, start: int = 0) -> None:
    """Raise InputError if the values (N, ...) of an example are not all finite.

    Args:
        values: Values of N examples.
        what: What they are, such as "logits of the exit layer1".
        start: Index of the first of these examples among all.
    """
    finite = values.flatten(1).isfinite().all(1)
    if not finite.all():
        number = start + int(torch.argmin(finite.int()))
        raise InputError(
            f"example {number} (counted from 0) has {what} that are not finite; look at its inputs and leave it out"
        )
