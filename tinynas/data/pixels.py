"""Images of a Python program as pixels: PIL images, NumPy arrays and tensors."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..utils.errors import InputError
from .images import UnreadableImageError, decoded

if TYPE_CHECKING:
    from PIL.Image import Image

_WHITE = 255
_ROUNDING = 1e-5  # by which floats may leave 0..1


def list_of_images(images: Any) -> list[Any]:
    """Return images as a list, also if there is one outside a list.

    Args:
        images: A tensor (N, C, H, W) or (C, H, W); an array (N, H, W, C), (H, W, C) or (H, W); a PIL image or a path;
            or an iterable of images or paths.

    Raises:
        InputError: It is none of these.
    """
    is_one = isinstance(images, str | Path) or hasattr(images, "getbands")
    is_one = is_one or (isinstance(images, Tensor | np.ndarray) and images.ndim < 4)
    if is_one:
        return [images]
    if not isinstance(images, Iterable):
        raise InputError(
            f"images is of the type {type(images).__name__}; expected a tensor (N, C, H, W), or a list of images or "
            "paths"
        )
    return list(images)


def to_pixels(image: Any, name: str) -> Tensor:
    """Return an image as uint8 (C, H, W), grey (C = 1) or RGB (C = 3).

    Args:
        image: A PIL image; a NumPy array (H, W) or (H, W, C); or a tensor (C, H, W). Arrays and tensors are uint8, or
            floats from 0 to 1.
        name: What the image is called in error messages, such as "train[3]".

    Raises:
        InputError: It is none of these.
    """
    if hasattr(image, "getbands"):
        try:
            return _pixels_of(image)
        except UnreadableImageError as error:
            raise InputError(f"the image of {name} cannot be used: {error}; convert it") from None
    if isinstance(image, np.ndarray):
        tensor = torch.from_numpy(np.ascontiguousarray(image))
        tensor = tensor[None] if tensor.ndim == 2 else tensor.movedim(-1, 0)
        order = "an array (H, W) or (H, W, C)"
    elif isinstance(image, Tensor):
        tensor, order = image.detach().cpu(), "a tensor (C, H, W)"
    else:
        raise InputError(
            f"the image of {name} is of the type {type(image).__name__}; expected a PIL image, an array of NumPy or a "
            "tensor"
        )
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3) or not tensor.numel():
        raise InputError(
            f"the image of {name} has the shape {tuple(image.shape)}; expected {order} with 1 or 3 channels C"
        )
    return _as_bytes(tensor, name)


def _pixels_of(image: "Image") -> Tensor:
    """Return the pixels of a loaded PIL image, uint8: (1, H, W) if it is grey, (3, H, W) otherwise.

    Raises:
        UnreadableImageError: They have no defined white.
    """
    is_grey = image.mode in ("1", "L", "LA") or image.mode.startswith("I;16")
    pixels = torch.from_numpy(np.array(decoded(image, 1, "L" if is_grey else "RGB")))
    return pixels[None] if is_grey else pixels.permute(2, 0, 1)


def _as_bytes(tensor: Tensor, name: str) -> Tensor:
    """Return uint8 of uint8, or of floats from 0 to 1."""
    if tensor.dtype == torch.uint8:
        return tensor
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise InputError(f"the image of {name} is of {kind}; expected uint8, or floats from 0 to 1")
    low, high = tensor.aminmax()
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):  # also if one is NaN
        raise InputError(
            f"the image of {name} has values from {float(low):.4g} to {float(high):.4g}; expected uint8, or floats "
            "from 0 to 1, not normalised"
        )
    return (tensor * _WHITE).round().clamp(0, _WHITE).to(torch.uint8)
