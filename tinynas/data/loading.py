"""Batches whose images are prepared one at a time (read, cropped, augmented), by worker processes if there are many.

Processes are sent which images to load, batch by batch, and stay for the next epoch or evaluation. They write pixels
into memory that they share with this process, of which each batch in work has a slot.
"""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from math import prod
from multiprocessing import active_children
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..utils.errors import TinyNASError, TrainingError
from ..utils.machine import LOADERS_VARIABLE, loader_workers
from ..utils.processes import signals_deferred, watch_parent
from ..utils.sizes import Size, pair
from .augmentation import AugmentationRanges
from .base import BatchRequest
from .images import without_pil_messages
from .slots import Slots

Sample = tuple[Tensor, Tensor]  # uint8 (C, H, W); its label, or objects
_CONTEXT = "fork" if sys.platform == "linux" else "spawn"
_PREFETCHED = 2  # batches in work for each worker
_PEEKED = 64  # requests that tell how large batches are; a larger one is sent through a pipe
_CHANNELS = 3
_KILLED = re.compile(r"DataLoader worker .*(is killed by signal|exited unexpectedly)")
_FEW_IMAGES = 256  # up to this number of images, starting workers takes longer than they save


class ImageRequest(NamedTuple):
    """One image of a BatchRequest."""

    image: int  # its index in the split
    resolution: Size
    seed: int | None  # of the random augmentation; None for no augmentation
    strong: bool
    ranges: AugmentationRanges


LoadImage = Callable[[ImageRequest], Sample]
JoinLabels = Callable[[list[Tensor]], Tensor]


class ImageLoader:
    """Loads the batches of a split; its worker processes end when it is gone, or reading a batch fails."""

    def __init__(self) -> None:
        self._idle: _Workers | None = None

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Send a split to another process without its workers."""
        return ImageLoader, ()

    def batches(
        self, load_image: LoadImage, join_labels: JoinLabels, requests: Iterable[BatchRequest], *, num_images: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the requested batches; the same with and without worker processes.

        Args:
            load_image: Prepares one image, always that of the same split. A TinyNASError that it raises is raised here.
                It may seed torch's generator on the CPU, whose state is kept.
            join_labels: Joins the labels, or objects, of the images of a batch.
            requests: The batches, in order; they are read as they are needed.
            num_images: Number of images of the split that take long to read; worker processes start if there are many.

        Yields:
            Pixels, uint8 (N, C, H, W), which are only valid until the next batch is read; labels.

        Raises:
            TinyNASError: `load_image` raised it.
            InputError: TINYNAS_LOADERS is not a number.
        """
        max_workers = loader_workers()
        load = _BatchLoader(load_image, join_labels)
        if num_images <= _FEW_IMAGES or not max_workers:
            for request in requests:
                yield load.batch(_images_of(request))
            return
        remaining = iter(requests)
        peeked = list(islice(remaining, _PEEKED))
        if not peeked:
            return
        workers = self._start_workers(load, peeked, min(max_workers, len(peeked)))
        try:
            yield from workers.batches(chain(peeked, remaining))
        except BaseException:  # torch waits 5 seconds for each worker, which waits until its batches are read
            workers.terminate()
            raise
        self._idle = workers

    def _start_workers(self, load: "_BatchLoader", requests: Sequence[BatchRequest], count: int) -> "_Workers":
        """Return the idle workers, or new ones if these are too few or their slots too small."""
        num_bytes = max([_num_bytes(request) for request in requests])
        workers, self._idle = self._idle, None
        if workers is None or workers.count < count or workers.slot_bytes < num_bytes:
            workers = _Workers(load, count, num_bytes)
        return workers


def _num_bytes(request: BatchRequest) -> int:
    """Return the size of the pixels of a request's shard."""
    return len(request.shard_indices) * _CHANNELS * prod(pair(request.resolution))


class _Images(NamedTuple):
    """The images of a request's shard, as a worker is sent them: pickling a tensor would need shared memory."""

    indices: np.ndarray[Any, np.dtype[np.int64]]
    positions: range  # in the whole batch
    resolution: Size
    seed: int | None
    strong: bool
    ranges: AugmentationRanges

    def requests(self) -> Iterator[ImageRequest]:
        """Yield a request per image; image n of the whole batch gets the batch's seed plus n."""
        for index, position in zip(self.indices.tolist(), self.positions, strict=True):
            seed = None if self.seed is None else self.seed + position
            yield ImageRequest(index, self.resolution, seed, self.strong, self.ranges)


def _images_of(request: BatchRequest) -> _Images:
    positions = range(len(request.indices))[request.shard]
    return _Images(
        indices=request.shard_indices.numpy(),
        positions=positions,
        resolution=request.resolution,
        seed=request.seed,
        strong=request.strong,
        ranges=request.ranges,
    )


class _BatchLoader(NamedTuple):
    """Loads all images of a batch."""

    load_image: LoadImage
    join_labels: JoinLabels

    def batch(self, images: _Images, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return pixels (N, C, H, W), in `out` if they fit there, and labels."""
        pixels, labels = [], []
        with without_pil_messages(), torch.random.fork_rng([]):
            for request in images.requests():
                image, label = self.load_image(request)
                pixels.append(image)
                labels.append(label)
        if out is not None and out.numel() >= len(pixels) * pixels[0].numel():
            out = out[: len(pixels) * pixels[0].numel()].view(len(pixels), *pixels[0].shape)
            return torch.stack(pixels, out=out), self.join_labels(labels)
        return torch.stack(pixels), self.join_labels(labels)


class _Loaded(NamedTuple):
    """A batch as a worker sends it, without tensors: those need shared memory, and containers have little of it."""

    slot: int
    shape: tuple[int, ...]
    pixels: np.ndarray[Any, np.dtype[np.uint8]] | None  # None: they are in the slot
    labels: np.ndarray[Any, Any]


class _Task(NamedTuple):
    slot: int
    images: _Images


class _Batches(torch.utils.data.Dataset[_Loaded | TinyNASError]):
    """Maps a task to its batch, or to the error that loading it raised: raised here, its message has a traceback.

    Attributes:
        load: Loads a batch; None where only the workers, which have copies, need it: it refers to the split.
    """

    def __init__(self, load: _BatchLoader, slots: Slots | None) -> None:
        self.load: _BatchLoader | None = load
        self._slots = slots

    def __getitem__(self, task: _Task) -> _Loaded | TinyNASError:
        assert self.load is not None
        slot = self._slots.tensor(task.slot) if self._slots else None
        try:
            pixels, labels = self.load.batch(task.images, slot)
        except TinyNASError as error:
            return error
        is_in_slot = slot is not None and pixels.data_ptr() == slot.data_ptr()
        sent = None if is_in_slot else pixels.numpy()
        return _Loaded(task.slot, tuple(pixels.shape), sent, labels.numpy())


class _Tasks:
    """The tasks of the batches that are requested at the moment, as torch's loader reads them."""

    def __init__(self, num_slots: int) -> None:
        self.requests: Iterable[BatchRequest] = ()
        self._num_slots = num_slots

    def __iter__(self) -> Iterator[_Task]:
        for number, request in enumerate(self.requests):
            yield _Task(number % self._num_slots, _images_of(request))


class _Workers:
    """Processes that load batches, for one iteration after the other.

    Attributes:
        count: Number of processes.
        slot_bytes: Size of a slot.
    """

    def __init__(self, load: _BatchLoader, count: int, slot_bytes: int) -> None:
        self.count = count
        self.slot_bytes = slot_bytes
        num_slots = _PREFETCHED * count + 1  # of the batches in work, and of the one that is being read
        self._slots = Slots(num_slots, slot_bytes) if _CONTEXT == "fork" else None
        self._tasks = _Tasks(num_slots)
        dataset = _Batches(load, self._slots)
        self._loader = torch.utils.data.DataLoader(
            dataset,
            sampler=self._tasks,
            batch_size=None,
            num_workers=count,
            collate_fn=_unchanged,
            worker_init_fn=partial(_end_with, os.getpid()),
            generator=torch.Generator(),  # its own: the default is to draw a seed from the global generator
            multiprocessing_context=_CONTEXT,
            prefetch_factor=_PREFETCHED,
            persistent_workers=True,
        )
        others = set(active_children())
        with signals_deferred():  # what an interrupt raises while processes are forked would be ignored
            iter(self._loader)
            self._processes = set(active_children()) - others
        dataset.load = None

    def batches(self, requests: Iterable[BatchRequest]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the requested batches."""
        self._tasks.requests = requests
        for loaded in self._loader:
            if isinstance(loaded, TinyNASError):
                raise loaded
            yield self._pixels(loaded), torch.from_numpy(loaded.labels)
        self._tasks.requests = ()

    def _pixels(self, loaded: _Loaded) -> Tensor:
        """Return the pixels that were sent, or are in a slot."""
        if loaded.pixels is not None:
            return torch.from_numpy(loaded.pixels)
        assert self._slots is not None
        return self._slots.tensor(loaded.slot)[: prod(loaded.shape)].view(loaded.shape)

    def terminate(self) -> None:
        """End the processes at once."""
        for process in self._processes:
            process.terminate()


def _unchanged(batch: Any) -> Any:
    return batch


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
