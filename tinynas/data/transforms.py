"""Transforms of images: resizing and cropping."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..utils.sizes import Size, pair

_MIN_SCALE = 2  # pixels of a crop that is read smaller, in each direction, for one pixel of the result
_REDUCTIONS = (8, 4, 2)
INTERPOLATIONS = BILINEAR, BICUBIC = "bilinear", "bicubic"


def stretch(image: Tensor, resolution: Size) -> Tensor:
    """Resize an image to a resolution whatever its shape: uint8 (C, H, W). Bilinear, antialiased."""
    from torchvision.transforms.v2 import functional

    stretched: Tensor = functional.resize(image, list(pair(resolution)))
    return stretched


def resize(images: Tensor, resolution: Size) -> Tensor:
    """Resize a batch, floats (N, C, H, W), to a resolution whatever its shape. Bilinear, antialiased."""
    size = pair(resolution)
    if images.shape[-2:] == size:
        return images
    return torch.nn.functional.interpolate(images, size, mode="bilinear", antialias=True)


def central_part(images: Tensor, resolution: Size) -> Tensor:
    """Return the largest central part of images (N, C, H, W) that has a resolution's aspect ratio."""
    image_height, image_width = images.shape[-2:]
    height, width = pair(resolution)
    part_height = min(image_height, max(1, round(image_width * height / width)))
    part_width = min(image_width, max(1, round(image_height * width / height)))
    top, left = (image_height - part_height) // 2, (image_width - part_width) // 2
    return images[:, :, top : top + part_height, left : left + part_width]


def center_crop(image: Tensor, resolution: Size, crop: float, interpolation: str = BILINEAR) -> Tensor:
    """Return the central part of an image (C, H, W), resized to a resolution without distortion.

    The part's sides are the fraction `crop` of those of the largest part of the same aspect ratio. The image is resized
    by one of INTERPOLATIONS, antialiased.
    """
    from torchvision.transforms.v2 import InterpolationMode, functional

    size = pair(resolution)
    scaled = size_before_crop(size, image.shape[-2:], crop)
    resized = functional.resize(image, list(scaled), InterpolationMode(interpolation))
    cropped: Tensor = functional.center_crop(resized, list(size))
    return cropped


def size_before_crop(size: tuple[int, int], image_size: Sequence[int], crop: float) -> tuple[int, int]:
    """Return the height and width that an image is resized to before its centre of this size is cut out."""
    (height, width), (image_height, image_width) = size, image_size
    if height * image_width >= width * image_height:  # the centre is as high as the image, but for `crop`
        scaled = round(height / crop)
        return scaled, int(scaled * image_width / image_height)
    scaled = round(width / crop)
    return int(scaled * image_height / image_width), scaled


class RandomCrop(NamedTuple):
    """A crop of an image that is resized and may be mirrored; drawn before the image is read."""

    resolution: Size  # of the result
    image_height: int
    image_width: int
    top: int
    left: int
    height: int
    width: int
    mirrored: bool

    @classmethod
    def draw(cls, image_height: int, image_width: int, resolution: Size, smallest_area: float) -> "RandomCrop":
        """Draw a crop by torch's random numbers, of a fraction of an image's area, from the smallest to all of it.

        They are used as by RandomHorizontalFlip()(RandomResizedCrop(resolution, (smallest_area, 1.0))(image)) of
        torchvision. The crop's aspect ratio is that of the result, times a factor between 3:4 and 4:3.
        """
        height, width = pair(resolution)
        image = torch.empty(1, image_height, image_width, device="meta")
        box = _resized_crop(smallest_area, width / height).make_params([image])
        mirrored = bool(torch.rand(1).item() < 0.5)
        return cls(
            resolution, image_height, image_width, box["top"], box["left"], box["height"], box["width"], mirrored
        )

    @property
    def reduction(self) -> int:
        """How many times smaller the image may be read: the crop keeps twice the result's height and width."""
        height, width = pair(self.resolution)
        for reduction in _REDUCTIONS:
            scale = reduction * _MIN_SCALE
            if self.height >= scale * height and self.width >= scale * width:
                return reduction
        return 1

    def __call__(self, image: Tensor) -> Tensor:
        """Crop an image (C, H, W), read smaller by `reduction` or not: uint8, of the resolution.

        Raises:
            ValueError: The image has another size.
        """
        from torchvision.transforms.v2 import functional

        size = list(pair(self.resolution))
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
        height, width = pair(self.resolution)
        resized = picture.resize((width, height), Image.Resampling.BILINEAR, box=box)
        return torch.from_numpy(np.array(resized)).permute(2, 0, 1)


@cache
def _resized_crop(smallest_area: float, aspect: float) -> Any:
    from torchvision.transforms import v2

    return v2.RandomResizedCrop(1, (smallest_area, 1.0), ratio=(3 / 4 * aspect, 4 / 3 * aspect))
