"""Batches whose images are prepared one at a time (read, cropped, augmented), by worker processes if there are many."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import torch

from ..utils.errors import FileError
from .base import BatchRequest

Collated = TypeVar("Collated")
Sample = TypeVar("Sample")
_WORKERS = 4
_FEW_FILES = 256  # up to this number of files, starting workers takes longer than they save


class ImageRequest(NamedTuple):
    """One image of a BatchRequest."""

    image: int  # its index in the split
    resolution: int
    seed: int | None  # of the random augmentation; None for no augmentation
    strong: bool


def load_batches(
    load_sample: Callable[[ImageRequest], Sample],
    collate: Callable[[list[Sample]], Collated],
    requests: Sequence[BatchRequest],
    *,
    num_files: int,
) -> Iterator[Collated]:
    """Yield the requested batches, each collated from its samples; the same with and without worker processes.

    Args:
        load_sample: Prepares one image. A FileError that it raises is raised here.
        collate: Joins the samples of a batch.
        requests: The batches, in order.
        num_files: Number of files of the split; worker processes start if there are many.
    """
    batches = [_image_requests(request) for request in requests]
    workers = min(_WORKERS, os.cpu_count() or 1, len(batches)) if num_files > _FEW_FILES else 0
    loader = torch.utils.data.DataLoader(
        _Samples(load_sample),
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=partial(_collate, collate),
        generator=torch.Generator(),  # its own: the default is to draw a seed from the global generator
    )
    for batch in loader:
        if isinstance(batch, FileError):  # passed as a value: raised in a worker, its message would hold a traceback
            raise batch
        yield batch


def _image_requests(request: BatchRequest) -> list[ImageRequest]:
    """Return a request per image; image n of the batch gets the batch's seed plus n."""
    requests = []
    for n, index in enumerate(request.indices.tolist()):
        seed = None if request.seed is None else request.seed + n
        requests.append(ImageRequest(index, request.resolution, seed, request.strong))
    return requests


class _Samples(torch.utils.data.Dataset[Sample | FileError]):
    """Maps an ImageRequest to its sample, or to the error that preparing it raised."""

    def __init__(self, load_sample: Callable[[ImageRequest], Sample]) -> None:
        self.load_sample = load_sample

    def __getitem__(self, request: ImageRequest) -> Sample | FileError:
        try:
            return self.load_sample(request)
        except FileError as error:
            return error


def _collate(collate: Callable[[list[Sample]], Collated], samples: list[Sample | FileError]) -> Collated | FileError:
    """Collate samples, or return the first error among them."""
    loaded = []
    for sample in samples:
        if isinstance(sample, FileError):
            return sample
        loaded.append(sample)
    return collate(loaded)
