"""Batches whose images are prepared one at a time (read, cropped, augmented), by worker processes if there are many."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing import active_children
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from ..utils.errors import FileError, TrainingError
from ..utils.machine import LOADERS_VARIABLE, loader_workers
from ..utils.processes import signals_deferred, watch_parent
from .augmentation import AugmentationRanges
from .base import BatchRequest

Collated = TypeVar("Collated")
Sample = TypeVar("Sample")
_KILLED = re.compile(r"DataLoader worker .*(is killed by signal|exited unexpectedly)")
_FEW_FILES = 256  # up to this number of files, starting workers takes longer than they save


class ImageRequest(NamedTuple):
    """One image of a BatchRequest."""

    image: int  # its index in the split
    resolution: int
    seed: int | None  # of the random augmentation; None for no augmentation
    strong: bool
    ranges: AugmentationRanges


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
        collate: Joins the samples of a batch to a tensor or a tuple of tensors.
        requests: The batches, in order.
        num_files: Number of files of the split; worker processes start if there are many.

    Raises:
        FileError: `load_sample` raised it.
        InputError: TINYNAS_LOADERS is not a number.
    """
    batches = [_image_requests(request) for request in requests]
    max_workers = loader_workers()
    num_workers = min(max_workers, len(batches)) if num_files > _FEW_FILES else 0
    loader = torch.utils.data.DataLoader(
        _Samples(load_sample),
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=partial(_collate, collate),
        worker_init_fn=partial(_end_with, os.getpid()),
        generator=torch.Generator(),  # its own: the default is to draw a seed from the global generator
    )
    others, workers = set(active_children()), set()
    try:
        with signals_deferred():  # what an interrupt raises while processes are forked would be ignored
            loaded = iter(loader)
            workers = set(active_children()) - others
        for batch in loaded:
            if isinstance(batch, FileError):  # passed as a value: raised in a worker, its message has a traceback
                raise batch
            yield _map(torch.from_numpy, batch)
    except BaseException:  # torch waits 5 seconds for each worker, which waits until its batches are read
        for worker in workers:
            worker.terminate()
        raise


def _end_with(parent: int, worker: int) -> None:
    """End this worker process as soon as the process that started it is gone; torch notices that after 5 seconds."""
    watch_parent(parent, partial(os._exit, 1))


def killed_loader_error(error: BaseException) -> TrainingError | None:
    """Return the error for what torch raises when a worker process is killed; None for anything else.

    torch raises it in a signal handler: wherever the main thread is at that moment, not only where a batch is read.
    """
    if not isinstance(error, RuntimeError) or not _KILLED.search(str(error)):
        return None
    return TrainingError(
        "a process that loads images was killed, perhaps for lack of memory; free memory, or load images without such "
        f"processes by --loader-workers 0 or {LOADERS_VARIABLE}=0; --resume continues what was trained"
    )


def _image_requests(request: BatchRequest) -> list[ImageRequest]:
    """Return a request per image of the shard; image n of the whole batch gets the batch's seed plus n."""
    requests = []
    for n, index in enumerate(request.indices.tolist()):
        seed = None if request.seed is None else request.seed + n
        requests.append(ImageRequest(index, request.resolution, seed, request.strong, request.ranges))
    return requests[request.shard]


class _Samples(torch.utils.data.Dataset[Sample | FileError]):
    """Maps an ImageRequest to its sample, or to the error that preparing it raised."""

    def __init__(self, load_sample: Callable[[ImageRequest], Sample]) -> None:
        self.load_sample = load_sample

    def __getitem__(self, request: ImageRequest) -> Sample | FileError:
        try:
            return self.load_sample(request)
        except FileError as error:
            return error


def _collate(collate: Callable[[list[Sample]], Collated], samples: list[Sample | FileError]) -> Any:
    """Collate samples, or return the first error among them.

    Tensors become arrays, which processes send through a pipe: tensors need shared memory, and where that is small, as
    it is in containers, torch waits for ever.
    """
    loaded = []
    for sample in samples:
        if isinstance(sample, FileError):
            return sample
        loaded.append(sample)
    return _map(Tensor.numpy, collate(loaded))


def _map(convert: Callable[[Any], Any], batch: Any) -> Any:
    """Convert a tensor or array, or each of a tuple of them."""
    return tuple(map(convert, batch)) if isinstance(batch, tuple) else convert(batch)
