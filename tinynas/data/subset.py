"""A part of a split, as a split of its own."""

from collections.abc import Iterable, Iterator
from hashlib import sha256

import torch
from torch import Tensor

from ..utils.rng import generator
from .base import BatchRequest, LabelledBatch, Normalisation, Split
from .labels import original_pixels, select_labels


class SubsetSplit:
    """Some images of a split, in the order of their indices.

    Args:
        split: The split.
        indices: Of the images, (N,).
    """

    def __init__(self, split: Split, indices: Tensor) -> None:
        self._split = split
        self._indices = indices

    @property
    def labels(self) -> Tensor:
        """The labels of all images: class indices (N,); for detection targets (M, 8)."""
        return select_labels(self._split.labels, self._indices)

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def pixels(self) -> Tensor | None:
        """Width times height of every original image, (N,), if its split knows them."""
        pixels = original_pixels(self._split)
        return None if pixels is None else pixels[self._indices]

    def digest(self) -> str:
        """Return the SHA-256 of the split and the indices."""
        return sha256(f"{self._split.digest()} {self._indices.tolist()}".encode()).hexdigest()

    def to(self, device: torch.device) -> "SubsetSplit":
        """Return the split with its batches' images on a device."""
        return SubsetSplit(self._split.to(device), self._indices)

    def batches(self, requests: Iterable[BatchRequest], normalise: Normalisation) -> Iterator[LabelledBatch]:
        """Yield one batch per request."""
        return self._split.batches(self._requests_of_split(requests), normalise)

    def _requests_of_split(self, requests: Iterable[BatchRequest]) -> Iterator[BatchRequest]:
        for request in requests:
            yield request._replace(indices=self._indices[request.indices])


def sample_of(split: Split, images: int) -> Split:
    """Return a fixed random choice of a split's images, or the split itself if it has no more."""
    if len(split) <= images:
        return split
    order = torch.from_numpy(generator(0, "sample").permutation(len(split)))
    return SubsetSplit(split, order[:images].sort().values)
