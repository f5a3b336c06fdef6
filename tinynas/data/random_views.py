"""Augmentation of images with boxes, a batch at a time: every image is seen from nearer or further, and moved."""

from math import log
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from ..utils.sizes import Size, pair
from .augmentation import AugmentationRanges
from .objects import BOX

_LARGEST = 1.4  # factor by which objects become larger, or smaller
_SMALLEST_SIDE = 1.0  # pixels of a box
_BOX = slice(1 + BOX.start, 1 + BOX.stop)  # columns of targets that hold the box


class RandomViews(NamedTuple):
    """A view of each of N images: a square part of it, or a larger square around it."""

    side: Tensor  # (N, 1), of the view, as a fraction of the image's
    corner: Tensor  # (N, 2), x and y of the view's left top corner in the image, as fractions
    mirrored: Tensor  # (N,), bool

    @classmethod
    def draw(cls, count: int, rng: torch.Generator, ranges: AugmentationRanges, *, mirror: bool) -> "RandomViews":
        """Draw views: objects become up to 1.4 times larger or smaller, and every part of an image is as likely.

        Args:
            count: Number of images.
            rng: A generator of the CPU: the same views on all devices.
            ranges: How far the changes go.
            mirror: Whether half of the views are mirrored, if the ranges allow it.
        """
        reach = ranges.reach * log(_LARGEST)
        side = torch.empty(count, 1).uniform_(-reach, reach, generator=rng).exp()
        corner = torch.rand(count, 2, generator=rng) * (1 - side)
        mirrored = torch.rand(count, generator=rng) < (0.5 if mirror and ranges.mirror else 0.0)
        return cls(side, corner, mirrored)

    def of(self, shard: slice) -> "RandomViews":
        """Return the views of some of the images."""
        return RandomViews(self.side[shard], self.corner[shard], self.mirrored[shard])

    def images(self, images: Tensor, resolution: Size) -> Tensor:
        """Return what is seen of normalised images (N, C, H, W): (N, C, *resolution), 0 outside of the images."""
        height, width = pair(resolution)
        transforms = torch.zeros(len(images), 2, 3)  # from the view's coordinates, -1 to 1, to those of the image
        transforms[:, 0, 0] = torch.where(self.mirrored, -self.side[:, 0], self.side[:, 0])
        transforms[:, 1, 1] = self.side[:, 0]
        transforms[:, :, 2] = 2 * self.corner + self.side - 1
        grid = affine_grid(transforms.to(images), [*images.shape[:2], height, width], align_corners=False)
        return grid_sample(images, grid, align_corners=False)

    def targets(self, targets: Tensor, resolution: Size) -> Tensor:
        """Return the objects of targets (M, 8) that are seen, their boxes as fractions of the view.

        Objects whose centre is outside, or that are smaller than a pixel, are left out.
        """
        image = targets[:, 0].long()
        x1, y1, x2, y2 = ((targets[:, _BOX] - self.corner[image].repeat(1, 2)) / self.side[image]).unbind(1)
        mirrored = self.mirrored[image]
        left, right = torch.where(mirrored, 1 - x2, x1), torch.where(mirrored, 1 - x1, x2)
        height, width = pair(resolution)
        is_seen = _within((left + right) / 2) & _within((y1 + y2) / 2)
        boxes = torch.stack([left, y1, right, y2], 1).clamp(0, 1)
        sides = boxes[:, 2:] - boxes[:, :2]
        is_seen &= (sides * torch.tensor([width, height]) >= _SMALLEST_SIDE).all(1)
        seen = targets.clone()
        seen[:, _BOX] = boxes
        return seen[is_seen]


def _within(values: Tensor) -> Tensor:
    return (values > 0) & (values < 1)
