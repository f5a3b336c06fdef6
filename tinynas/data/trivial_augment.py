"""TrivialAugment: every image is changed once, at random, by a random strength; a whole batch on its device.

Mueller and Hutter, TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation, ICCV 2021, with the wide set.
Each function of `CHANGES` takes images, uint8 (N, C, H, W), and strengths from -1 to 1, (N,), and returns images alike.
"""

from math import pi
from typing import NamedTuple

import torch
from torch import Tensor

_STRENGTHS = 31  # different ones, from 0 to 1
_LARGEST_SHIFT = 32  # pixels
_LARGEST_ANGLE = 135 * pi / 180
_MOST = 0.99  # by which colours are blended and images sheared
_WHITE = 255


class RandomChanges(NamedTuple):
    """What is done to the images of a batch; on the CPU, whatever the images' device."""

    kinds: Tensor  # (N,), indices into `CHANGES`
    strengths: Tensor  # (N,), from -1 to 1

    @classmethod
    def draw(cls, images: int, rng: torch.Generator) -> "RandomChanges":
        """Draw changes of a number of images: kind, strength and sign are independent and uniform."""
        kinds = torch.randint(len(CHANGES), (images,), generator=rng)
        strengths = torch.randint(_STRENGTHS, (images,), generator=rng) / (_STRENGTHS - 1)
        signs = 2 * torch.randint(2, (images,), generator=rng) - 1
        return cls(kinds, signs * strengths)

    def of(self, shard: slice) -> "RandomChanges":
        """Return those of a part of the batch."""
        return RandomChanges(self.kinds[shard], self.strengths[shard])

    def apply(self, images: Tensor) -> Tensor:
        """Return changed images: uint8 (N, C, H, W), shape kept."""
        changed = images.clone()
        for kind, change in enumerate(CHANGES):
            indices = (self.kinds == kind).nonzero().flatten()
            if len(indices):
                strengths = self.strengths[indices].to(images.device)
                indices = indices.to(images.device)
                changed[indices] = change(images[indices], strengths)
        return changed


def _identity(images: Tensor, strengths: Tensor) -> Tensor:
    return images


def _shear_x(images: Tensor, strengths: Tensor) -> Tensor:
    """Shear along the rows; the upper edge stays."""
    x, y = _pixel_centres(images)
    return _resample(images, x + _MOST * strengths.view(-1, 1, 1) * (y + images.shape[2] / 2), y)


def _shear_y(images: Tensor, strengths: Tensor) -> Tensor:
    """Shear along the columns; the left edge stays."""
    x, y = _pixel_centres(images)
    return _resample(images, x, y + _MOST * strengths.view(-1, 1, 1) * (x + images.shape[3] / 2))


def _translate_x(images: Tensor, strengths: Tensor) -> Tensor:
    """Shift to the right, by whole pixels."""
    x, y = _pixel_centres(images)
    return _resample(images, x - (_LARGEST_SHIFT * strengths.view(-1, 1, 1)).trunc(), y)


def _translate_y(images: Tensor, strengths: Tensor) -> Tensor:
    """Shift downwards, by whole pixels."""
    x, y = _pixel_centres(images)
    return _resample(images, x, y - (_LARGEST_SHIFT * strengths.view(-1, 1, 1)).trunc())


def _rotate(images: Tensor, strengths: Tensor) -> Tensor:
    """Rotate about the centre, counterclockwise."""
    x, y = _pixel_centres(images)
    angles = _LARGEST_ANGLE * strengths.view(-1, 1, 1)
    return _resample(images, angles.cos() * x - angles.sin() * y, angles.sin() * x + angles.cos() * y)


def _brightness(images: Tensor, strengths: Tensor) -> Tensor:
    return _blend(images, torch.zeros((), device=images.device), strengths)


def _colour(images: Tensor, strengths: Tensor) -> Tensor:
    """Blend with the grey image; grey images stay."""
    return _blend(images, _grey(images), strengths) if images.shape[1] == 3 else images


def _contrast(images: Tensor, strengths: Tensor) -> Tensor:
    """Blend with the mean of the grey image."""
    return _blend(images, _grey(images).mean((1, 2, 3), keepdim=True), strengths)


def _sharpness(images: Tensor, strengths: Tensor) -> Tensor:
    """Blend with the smoothed image, whose edges are the image's."""
    from torchvision.transforms.v2 import functional

    return _blend(images, functional.adjust_sharpness(images, 0.0).float(), strengths)


def _posterize(images: Tensor, strengths: Tensor) -> Tensor:
    """Keep the 2 to 8 highest bits of every value."""
    bits = (8 - 6 * strengths.view(-1, 1, 1, 1).abs()).round().int()
    lowest = torch.bitwise_left_shift(torch.ones_like(bits), 8 - bits)
    return images & (256 - lowest).to(torch.uint8)


def _solarize(images: Tensor, strengths: Tensor) -> Tensor:
    """Invert the values from a threshold on."""
    threshold = _WHITE * (1 - strengths.view(-1, 1, 1, 1).abs())
    return torch.where(images >= threshold, _WHITE - images, images)


def _autocontrast(images: Tensor, strengths: Tensor) -> Tensor:
    from torchvision.transforms.v2 import functional

    changed: Tensor = functional.autocontrast(images)
    return changed


def _equalize(images: Tensor, strengths: Tensor) -> Tensor:
    from torchvision.transforms.v2 import functional

    changed: Tensor = functional.equalize(images)
    return changed


CHANGES = (
    _identity,
    _shear_x,
    _shear_y,
    _translate_x,
    _translate_y,
    _rotate,
    _brightness,
    _colour,
    _contrast,
    _sharpness,
    _posterize,
    _solarize,
    _autocontrast,
    _equalize,
)


def _pixel_centres(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pixels' x (1, 1, W) and y (1, H, 1), from the image's centre."""
    height, width = images.shape[2:]
    x = torch.arange(width, device=images.device) - (width - 1) / 2
    y = torch.arange(height, device=images.device) - (height - 1) / 2
    return x.view(1, 1, -1), y.view(1, -1, 1)


def _resample(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the images' nearest pixels at x and y, which broadcast to (N, H, W); black outside the image."""
    count, _, height, width = images.shape
    grid = torch.stack(
        [(x / (width / 2)).expand(count, height, width), (y / (height / 2)).expand(count, height, width)], -1
    )
    sampled = torch.nn.functional.grid_sample(images.float(), grid, mode="nearest", align_corners=False)
    return sampled.to(torch.uint8)


def _blend(images: Tensor, others: Tensor, strengths: Tensor) -> Tensor:
    """Move images away from others, floats; towards them where the strength is negative."""
    amounts = _MOST * strengths.view(-1, 1, 1, 1)
    return (images + amounts * (images - others)).clamp(0, _WHITE).to(torch.uint8)


def _grey(images: Tensor) -> Tensor:
    """Return the luminance as floats (N, 1, H, W), without fractions."""
    from torchvision.transforms.v2 import functional

    grey: Tensor = functional.rgb_to_grayscale(images)
    return grey.float()
