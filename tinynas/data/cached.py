"""A split whose images are read and resized once per resolution, and kept in memory."""

from collections.abc import Iterable, Iterator
from math import prod

import torch
from torch import Tensor

from ..utils.machine import processes_on_machine
from ..utils.memory import available_memory
from ..utils.sizes import Size, pair
from .base import BatchRequest, LabelledBatch, Normalisation, Split
from .labels import original_pixels, select_labels

_SHARE = 4  # a quarter of the memory that is available is for images
_READ_AT_ONCE = 250  # images, when the cache is filled


class CachedSplit:
    """A split for repeated evaluation: it yields the batches of another split, without augmentation, from a cache.

    The images of a resolution are cached when they are first requested, if they fit into what is left of the cache;
    otherwise they are read again each time. They are kept as `compact` does.

    Args:
        split: The split whose images are cached.
        max_bytes: Size of the cache, of the images of all resolutions; by default that of `cache_bytes` on the CPU.
    """

    def __init__(self, split: Split, *, max_bytes: int | None = None) -> None:
        self.split = split
        self._free_bytes = cache_bytes(torch.device("cpu")) if max_bytes is None else max_bytes
        self._max_bytes = self._free_bytes
        self._too_large: set[Size] = set()  # resolutions
        self._images: dict[Size, Tensor] = {}  # (N, C, H, W), by resolution

    @property
    def labels(self) -> Tensor:
        """The labels of all images."""
        return self.split.labels

    def __len__(self) -> int:
        return len(self.split)

    @property
    def pixels(self) -> Tensor | None:
        """Width times height of every original image, (N,), if the split knows them."""
        return original_pixels(self.split)

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
            yield normalised(images[indices], normalise), select_labels(self.labels, indices)

    def _fill(self, resolution: Size, normalise: Normalisation) -> bool:
        """Cache the images of a resolution; return whether they fit."""
        shape = len(self), len(normalise.mean), *pair(resolution)
        if resolution in self._too_large or prod(shape) > self._free_bytes:
            return False
        images = torch.empty(0)
        read = 0
        for batch, _ in self.split.batches(_all_images(len(self), resolution), normalise):
            part = compact(batch, normalise)
            if read == 0 or part.element_size() > images.element_size():
                if part.element_size() * prod(shape) > self._free_bytes:
                    self._too_large.add(resolution)
                    return False
                earlier = images[:read]
                images = torch.empty(shape, dtype=part.dtype, device=part.device)
                if read:
                    images[:read] = normalised(earlier, normalise)
            images[read : read + len(part)] = part if part.dtype == images.dtype else batch
            read += len(part)
        self._images[resolution] = images
        self._free_bytes -= images.element_size() * images.numel()
        return True


def cache_bytes(device: torch.device) -> int:
    """Return how many bytes of images to keep on a device.

    That is a quarter of the memory that is available there, divided among the processes that search.
    """
    is_gpu = device.type == "cuda"
    available = torch.cuda.mem_get_info(device)[0] if is_gpu else available_memory()
    return available // _SHARE // processes_on_machine()


def compact(images: Tensor, normalise: Normalisation) -> Tensor:
    """Return normalised images as pixels, uint8, if they are the same to the bit when normalised again.

    Images of files are, and those in memory at their own size; they take a quarter of the memory then. Images that were
    resized after they had been normalised stay floats.
    """
    pixels = normalise.undone(images)
    return pixels if torch.equal(normalise(pixels), images) else images


def normalised(images: Tensor, normalise: Normalisation) -> Tensor:
    """Return what `compact` was called with."""
    return normalise(images) if images.dtype == torch.uint8 else images


def _all_images(count: int, resolution: Size) -> Iterator[BatchRequest]:
    """Yield the requests of all images, in order."""
    for indices in torch.split(torch.arange(count), _READ_AT_ONCE):
        yield BatchRequest(indices, resolution)
