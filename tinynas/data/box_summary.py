"""The boxes of a detection data set in numbers: how large they are, on the original images and for a network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..utils.sizes import Size, format_size, pair
from .base import Split
from .identity import SPLIT_NAMES
from .sources import MemoryImages

SMALL, LARGE = 32, 96  # COCO's limits: pixels along the side of a square of the same area, on the original image
FEW_PIXELS = 8  # of a box's shorter side, under which a network hardly sees the object
_LEVELS = (0.05, 0.5, 0.95)  # quantiles of sides that are shown


@dataclass(frozen=True, kw_only=True)
class BoxSummary:
    """The sizes of the boxes in a data set.

    Attributes:
        empty: Number of images without objects in each split.
        sizes: For each split, how many boxes are "small", "medium" and "large" by COCO's limits; empty if the sizes of
            the images are unknown.
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
        images, sides = _boxes(split)
        empty[name] = len(split) - len(set(images.tolist()))
        original = _image_sizes(split)
        if original is not None:
            sizes[name] = _by_size(sides.prod(1) * original[images].prod(1))
    _, sides = _boxes(splits["train"])
    low = median = high = 0.0
    if len(sides):
        low, median, high = torch.quantile(sides.min(1).values, torch.tensor(_LEVELS)).tolist()
    few_pixels = None
    if resolution is not None and len(sides):
        height, width = pair(resolution)
        few_pixels = ((sides * torch.tensor([width, height])).min(1).values < FEW_PIXELS).float().mean().item()
    return BoxSummary(empty=empty, sizes=sizes, sides=(low, median, high), resolution=resolution, few_pixels=few_pixels)


def _boxes(split: Split) -> tuple[Tensor, Tensor]:
    """Return index of the image (M,), and width and height (M, 2) as fractions of the image, of every box."""
    labels = split.labels
    return labels[:, 0].long(), labels[:, 4:6] - labels[:, 2:4]


def _image_sizes(split: Split) -> Tensor | None:
    """Return width and height (N, 2) of the images of a split; None if they are unknown."""
    source: Any = getattr(split, "read", None)
    if isinstance(source, MemoryImages):
        height, width = source.images.shape[-2:]
        return torch.tensor([[width, height]]).float().expand(len(split), 2)
    if not hasattr(source, "size"):
        return None
    sizes = []
    for index in range(len(split)):
        height, width = source.size(index)
        sizes.append((width, height))
    return torch.tensor(sizes, dtype=torch.float32)


def _by_size(areas: Tensor) -> dict[str, int]:
    """Return how many boxes are small, medium and large by their areas in pixels."""
    small, large = int((areas < SMALL**2).sum()), int((areas >= LARGE**2).sum())
    return {"small": small, "medium": len(areas) - small - large, "large": large}
