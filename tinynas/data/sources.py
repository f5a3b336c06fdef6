"""Where the images of a split come from, one at a time: files, memory, or a program's dataset."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import Protocol

from torch import Tensor

from .digest import tensor_digest


class ImageSource(Protocol):
    """The images of a split, of any sizes.

    Attributes:
        for_workers: Whether worker processes read the images of a large split, as reading one takes long.
    """

    @property
    def for_workers(self) -> bool: ...

    def __call__(self, index: int) -> Tensor:
        """Return an image, uint8 (C, H, W)."""
        ...

    def digest(self) -> str:
        """Return the SHA-256 of all images."""
        ...

    def subset(self, indices: Sequence[int]) -> "ImageSource":
        """Return some of the images."""
        ...


class CheckedImages(ImageSource, Protocol):
    """Images that were read once to check them, so that their sizes are known."""

    def __call__(self, index: int, *, reduction: int = 1) -> Tensor:
        """Return an image, uint8 (C, H, W); or so many times smaller, where that takes less time."""
        ...

    def size(self, index: int) -> tuple[int, int]:
        """Return the height and width of an image."""
        ...

    def name(self, index: int) -> str:
        """Return what an image is called in messages, such as its path."""
        ...

    def digests(self) -> list[str]:
        """Return the SHA-256 of each image."""
        ...

    def subset(self, indices: Sequence[int]) -> "CheckedImages":
        """Return some of the images."""
        ...


def num_pixels(images: ImageSource, index: int) -> float:
    """Return width times height of an image as it is stored, before it is resized; NaN if that is unknown."""
    if not hasattr(images, "size"):
        return nan
    height, width = images.size(index)
    return float(height * width)


@dataclass(frozen=True)
class MemoryImages:
    """Images in memory, uint8 (N, C, H, W)."""

    images: Tensor
    for_workers: bool = False

    def __call__(self, index: int) -> Tensor:
        return self.images[index]

    def size(self, index: int) -> tuple[int, int]:
        return self.images.shape[-2], self.images.shape[-1]

    def digest(self) -> str:
        return tensor_digest(self.images)

    def subset(self, indices: Sequence[int]) -> "MemoryImages":
        return MemoryImages(self.images[list(indices)])
