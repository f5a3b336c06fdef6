"""Transforms of images: resizing and cropping."""

import torch
from torch import Tensor


def stretch(image: Tensor, resolution: int) -> Tensor:
    """Resize an image to a square whatever its shape: uint8 (C, H, W) to uint8 (C, resolution, resolution).

    Bilinear, antialiased.
    """
    from torchvision.transforms.v2 import functional

    stretched: Tensor = functional.resize(image, [resolution, resolution])
    return stretched


def resize(images: Tensor, resolution: int) -> Tensor:
    """Resize a batch: floats (N, C, H, W) to (N, C, resolution, resolution). Bilinear, antialiased."""
    if images.shape[-2:] == (resolution, resolution):
        return images
    return torch.nn.functional.interpolate(images, (resolution, resolution), mode="bilinear", antialias=True)


def center_crop(image: Tensor, resolution: int, crop: float) -> Tensor:
    """Return the central square of an image (C, H, W), resized to (C, resolution, resolution).

    The square's side is the fraction `crop` of the image's shorter side.
    """
    from torchvision.transforms import v2

    cropped: Tensor = v2.CenterCrop(resolution)(v2.Resize(round(resolution / crop))(image))
    return cropped
