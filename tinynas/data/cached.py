"""A split whose images are read, resized and normalised once per resolution, and kept in memory."""

from collections.abc import Iterable, Iterator
from math import prod

import torch
from torch import Tensor

from .base import BatchRequest, LabelledBatch, Normalisation, Split
from .subset import select_labels

MAX_CACHED_BYTES = 2**30  # of the images of all resolutions
_BYTES = 4  # of a float
_READ_AT_ONCE = 250  # images, when the cache is filled


class CachedSplit:
    """A split for repeated evaluation: it yields the batches of another split, without augmentation, from a cache.

    The images of a resolution are cached when they are first requested, if they fit into what is left of the cache;
    otherwise they are read again each time.

    Args:
        split: The split whose images are cached.
        max_bytes: Size of the cache.
    """

    def __init__(self, split: Split, *, max_bytes: int = MAX_CACHED_BYTES) -> None:
        self.split = split
        self._max_bytes = max_bytes
        self._free_bytes = max_bytes
        self._images: dict[int, Tensor] = {}  # (N, C, resolution, resolution), normalised, by resolution

    @property
    def labels(self) -> Tensor:
        """The labels of all images."""
        return self.split.labels

    def __len__(self) -> int:
        return len(self.split)

    def digest(self) -> str:
        """Return the SHA-256 of all images and labels."""
        return self.split.digest()

    def to(self, device: torch.device) -> "CachedSplit":
        """Return the split with an empty cache, its images on a device."""
        return CachedSplit(self.split.to(device), max_bytes=self._max_bytes)

    def batches(self, requests: Iterable[BatchRequest], normalise: Normalisation) -> Iterator[LabelledBatch]:
        """Yield one batch per request, all of one resolution and without augmentation."""
        requests = list(requests)
        resolution = requests[0].resolution
        if resolution not in self._images and not self._fill(resolution, normalise):
            yield from self.split.batches(requests, normalise)
            return
        images = self._images[resolution]
        for request in requests:
            indices = request.shard_indices
            yield images[indices], select_labels(self.labels, indices)

    def _fill(self, resolution: int, normalise: Normalisation) -> bool:
        """Cache the images of a resolution; return whether they fit."""
        shape = len(self), len(normalise.mean), resolution, resolution
        num_bytes = _BYTES * prod(shape)
        if num_bytes > self._free_bytes:
            return False
        images = torch.empty(0)
        requests = []
        for indices in torch.split(torch.arange(len(self)), _READ_AT_ONCE):
            requests.append(BatchRequest(indices, resolution))
        read = 0
        for batch, _ in self.split.batches(requests, normalise):
            if read == 0:
                images = torch.empty(shape, device=batch.device)
            images[read : read + len(batch)] = batch
            read += len(batch)
        self._images[resolution] = images
        self._free_bytes -= num_bytes
        return True
