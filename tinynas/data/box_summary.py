"""The boxes of a detection data set in numbers: how large they are, on the original images and for a network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..utils.sizes import Size, format_size, pair
from .base import Split
from .identity import SPLIT_NAMES
from .objects import AREA, BOX, KIND, OBJECT

SMALL, LARGE = 32, 96  # COCO's limits: pixels along the side of a square of the same area, on the original image
FEW_PIXELS = 8  # of a box's shorter side, under which a network hardly sees the object
_LEVELS = (0.05, 0.5, 0.95)  # quantiles of sides that are shown


@dataclass(frozen=True, kw_only=True)
class BoxSummary:
    """The sizes of the boxes in a data set, but of crowds and difficult objects.

    Attributes:
        empty: Number of images without objects in each split.
        sizes: For each split, how many objects are "small", "medium" and "large" by COCO's limits; a split is missing
            if the areas of its objects are unknown.
        sides: 5th percentile, median and 95th percentile of the shorter side of the training boxes, as a fraction of
            the image's side; zeros if there are none.
        resolution: Image size of a network, or None.
        few_pixels: Fraction of the training boxes whose shorter side has fewer than 8 pixels there; None without a
            resolution.
    """

    empty: Mapping[str, int]
    sizes: Mapping[str, Mapping[str, int]]
    sides: tuple[float, float, float]
    resolution: Size | None = None
    few_pixels: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain data, the splits named as in tables."""
        low, median, high = self.sides
        return {
            "images_without": {SPLIT_NAMES[split]: count for split, count in self.empty.items()},
            "sizes": {SPLIT_NAMES[split]: dict(counts) for split, counts in self.sizes.items()},
            "shorter_side": {"5%": low, "median": median, "95%": high},
            "resolution": self.resolution if self.resolution is None else list(pair(self.resolution)),
            "under_8_pixels": self.few_pixels,
        }

    def lines(self) -> list[str]:
        """Return the numbers as a few lines of text."""
        lines = []
        parts: list[str] = []
        for split, counts in self.sizes.items():
            small, medium, large = [f"{counts[kind]:,}" for kind in ("small", "medium", "large")]
            if parts:
                parts.append(f"{small}, {medium} and {large} in {SPLIT_NAMES[split]}")
            else:
                limits = f"under {SMALL}x{SMALL} pixels), {medium} medium, {large} large (from {LARGE}x{LARGE} on)"
                parts.append(f"{small} small ({limits} in {SPLIT_NAMES[split]}")
        if parts:
            lines.append(f"boxes: {'; '.join(parts)}")
        low, median, high = [f"{100 * side:.2g}%" for side in self.sides]
        lines.append(f"shorter sides of boxes: median {median} of the image's; 90% are from {low} to {high}")
        if self.resolution is not None and self.few_pixels is not None:
            size = format_size(pair(self.resolution))
            lines.append(f"at {size}: {100 * self.few_pixels:.0f}% of the boxes have a side under {FEW_PIXELS} pixels")
        if any(self.empty.values()):
            images = [f"{count:,} {SPLIT_NAMES[split]}" for split, count in self.empty.items()]
            lines.append(f"images without objects: {', '.join(images)}")
        return lines


def summarise_boxes(splits: Mapping[str, Split], resolution: Size | None = None) -> BoxSummary:
    """Count the boxes of the splits of a detection data set by their size.

    Args:
        splits: The splits by name.
        resolution: Image size of a network, whose view is described as well.
    """
    empty, sizes = {}, {}
    for name, split in splits.items():
        labels = _objects(split)
        empty[name] = len(split) - len(set(labels[:, 0].tolist()))
        areas = labels[:, 1 + AREA]
        known = areas[~areas.isnan()]
        if len(known) or not len(areas):
            sizes[name] = _by_size(known)
    boxes = _objects(splits["train"])[:, 1:][:, BOX]
    sides = boxes[:, 2:] - boxes[:, :2]
    low = median = high = 0.0
    if len(sides):
        low, median, high = torch.quantile(sides.min(1).values, torch.tensor(_LEVELS)).tolist()
    few_pixels = None
    if resolution is not None and len(sides):
        height, width = pair(resolution)
        few_pixels = ((sides * torch.tensor([width, height])).min(1).values < FEW_PIXELS).float().mean().item()
    return BoxSummary(empty=empty, sizes=sizes, sides=(low, median, high), resolution=resolution, few_pixels=few_pixels)


def _objects(split: Split) -> Tensor:
    """Return the labels (M, 8) of the objects of a split, but crowds and difficult ones."""
    return split.labels[split.labels[:, 1 + KIND] == OBJECT]


def _by_size(areas: Tensor) -> dict[str, int]:
    """Return how many objects are small, medium and large by their areas in pixels."""
    small, large = int((areas < SMALL**2).sum()), int((areas >= LARGE**2).sum())
    return {"small": small, "medium": len(areas) - small - large, "large": large}
