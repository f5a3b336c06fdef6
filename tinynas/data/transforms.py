"""Transforms of images: resizing and cropping."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

_MIN_SCALE = 2  # pixels of a crop that is read smaller, in each direction, for one pixel of the result
_REDUCTIONS = (8, 4, 2)


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


class RandomCrop(NamedTuple):
    """A crop of an image that is resized to a square and may be mirrored; drawn before the image is read."""

    resolution: int  # pixels along a side of the result
    image_height: int
    image_width: int
    top: int
    left: int
    height: int
    width: int
    mirrored: bool

    @classmethod
    def draw(cls, image_height: int, image_width: int, resolution: int, smallest_area: float) -> "RandomCrop":
        """Draw a crop by torch's random numbers, of a fraction of an image's area, from the smallest to all of it.

        They are used as by RandomHorizontalFlip()(RandomResizedCrop(resolution, (smallest_area, 1.0))(image)) of
        torchvision.
        """
        box = _resized_crop(smallest_area).make_params([torch.empty(1, image_height, image_width, device="meta")])
        mirrored = bool(torch.rand(1).item() < 0.5)
        return cls(
            resolution, image_height, image_width, box["top"], box["left"], box["height"], box["width"], mirrored
        )

    @property
    def reduction(self) -> int:
        """How many times smaller the image may be read: the crop keeps twice the result's height and width."""
        shorter = min(self.height, self.width)
        for reduction in _REDUCTIONS:
            if shorter >= reduction * _MIN_SCALE * self.resolution:
                return reduction
        return 1

    def __call__(self, image: Tensor) -> Tensor:
        """Crop an image (C, H, W), read smaller by `reduction` or not: uint8 (C, resolution, resolution).

        Raises:
            ValueError: The image has another size.
        """
        from torchvision.transforms.v2 import functional

        size = [self.resolution, self.resolution]
        smaller = -(-self.image_height // self.reduction), -(-self.image_width // self.reduction)
        if image.shape[1:] == (self.image_height, self.image_width):
            cropped: Tensor = functional.resized_crop(image, self.top, self.left, self.height, self.width, size)
        elif image.shape[1:] == smaller:
            cropped = self._crop_smaller(image)
        else:
            raise ValueError(f"{image.shape[2]}x{image.shape[1]} instead of {self.image_width}x{self.image_height}")
        return cropped.flip(2) if self.mirrored else cropped

    def _crop_smaller(self, image: Tensor) -> Tensor:
        """Crop an RGB image that was read smaller: the crop's edges lie between its pixels, which PIL allows."""
        from PIL import Image

        left, top = self.left / self.reduction, self.top / self.reduction
        box = (left, top, left + self.width / self.reduction, top + self.height / self.reduction)
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        resized = picture.resize((self.resolution, self.resolution), Image.Resampling.BILINEAR, box=box)
        return torch.from_numpy(np.array(resized)).permute(2, 0, 1)


@cache
def _resized_crop(smallest_area: float) -> Any:
    from torchvision.transforms import v2

    return v2.RandomResizedCrop(1, (smallest_area, 1.0))
