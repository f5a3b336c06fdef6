"""Data sets: their splits, and batches of images and labels.

Every data set has three splits: `train`; `val`, the search validation split ("search-val"), held out of the training
images and the only one that a search or a choice between networks looks at; and `test`, looked at once, at the end.
The splits never depend on a run's seed.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import tee
from math import prod
from operator import itemgetter
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ..utils.distributed import shard
from ..utils.errors import InputError
from ..utils.rng import generator
from ..utils.sizes import Size
from .augmentation import DEFAULT_RANGES, AugmentationRanges

EVALUATION_BATCH = 250  # images
_VALUES_AT_ONCE = 2**16  # that a thread normalises, 256 KB of floats
# Images: normalised floats (N, C, H, W). Labels: class indices (N,); for detection targets (M, 8), one row per object:
# index of its image in the batch, and what objects.py names: class index, box as fractions of the image, area, kind.
LabelledBatch = tuple[Tensor, Tensor]


class Batch(NamedTuple):
    """A batch of a training step."""

    images: Tensor  # (N, C, H, W), normalised floats
    labels: Tensor  # class indices (N,); for detection targets (M, 8), see LabelledBatch
    indices: Tensor  # (N,), of the images in the training split
    number: int  # in its epoch, from 0
    teacher_outputs: Tensor | None = None  # (N, ...), for the images, on their device

    def to(self, device: torch.device) -> "Batch":
        """Return the batch with images and labels on a device."""
        return self._replace(images=self.images.to(device), labels=self.labels.to(device))


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Scale pixels to 0..1, subtract the mean and divide by the standard deviation, channel by channel.

    Raises:
        InputError: There is not a finite mean and a positive, finite standard deviation for each channel.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        finite = all(math.isfinite(value) for value in self.mean + self.std)
        if not finite or len(self.mean) != len(self.std) or min(self.std, default=0) <= 0:
            raise InputError(
                "normalisation needs a finite mean and a positive, finite standard deviation for each channel, but has "
                f"the means {list(self.mean)} and the deviations {list(self.std)}"
            )

    def __call__(self, pixels: Tensor) -> Tensor:
        """Normalise pixels: uint8 (N, C, H, W) to floats (N, C, H, W).

        On a CPU some images at a time, which stay in its caches: for a large batch that takes half the time or less.
        """
        mean = torch.tensor(self.mean, device=pixels.device).view(-1, 1, 1)
        std = torch.tensor(self.std, device=pixels.device).view(-1, 1, 1)
        images = torch.empty_like(pixels, dtype=torch.float32)
        at_once = len(pixels)
        if pixels.device.type == "cpu":
            at_once = _VALUES_AT_ONCE * torch.get_num_threads() // max(1, prod(pixels.shape[1:]))
        at_once = max(1, at_once)
        for some_images, some_pixels in zip(torch.split(images, at_once), torch.split(pixels, at_once), strict=True):
            some_images.copy_(some_pixels).div_(255).sub_(mean).div_(std)
        return images

    def undone(self, images: Tensor) -> Tensor:
        """Return the pixels of normalised images: floats (N, C, H, W) to uint8 (N, C, H, W)."""
        mean = torch.tensor(self.mean, device=images.device).view(-1, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(-1, 1, 1)
        return ((images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)


IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


class BatchRequest(NamedTuple):
    """A batch to read from a split: which images, at which resolution, with which augmentation.

    In data-parallel training a process reads only its shard, but every image is augmented by its position in the whole
    batch, so that several processes augment as one would.
    """

    indices: Tensor  # (N,), of the images of the whole batch in the split
    resolution: Size
    seed: int | None = None  # of the random augmentation; None for no augmentation
    strong: bool = False  # also TrivialAugment (Mueller and Hutter, ICCV 2021); not for detection
    shard: slice = slice(None)  # of the batch, which is read
    ranges: AugmentationRanges = DEFAULT_RANGES

    @property
    def shard_indices(self) -> Tensor:
        """The indices of the images that are read."""
        return self.indices[self.shard]


class Split(Protocol):
    """Labelled images, in memory or on disk. MemorySplit, ImageSplit and BoxSplit implement it."""

    @property
    def labels(self) -> Tensor:
        """The labels of all images: class indices (N,); for detection targets (M, 8), see LabelledBatch."""
        ...

    def __len__(self) -> int:
        """Return the number of images."""

    def digest(self) -> str:
        """Return the SHA-256 of all images and labels, which tells whether they have changed."""

    def to(self, device: torch.device) -> "Split":
        """Return the split with its batches' images on a device; images in memory are copied there once."""

    def batches(self, requests: Iterable[BatchRequest], normalise: Normalisation) -> Iterator[LabelledBatch]:
        """Yield the shard of every batch, in order: images (N, C, H, W) and their labels.

        Requests are read as they are needed.
        """


@dataclass(frozen=True, kw_only=True)
class Data:
    """A data set: its three splits, its classes, and how an image becomes the input of a network.

    Attributes:
        classes: Names of the classes; a label is an index into them.
        normalise: Maps pixels uint8 (N, C, H, W) to the floats that networks take. Defines the number of channels.
        task: "classify", or "detect": labels are then boxes, and images are stretched to squares.
        crop: Evaluation takes the central part, of the network's aspect ratio, whose sides are this fraction of those
            of the largest such part.
        train: The images to train on.
        val: Search-val, held out of the training images.
        test: The images for the final accuracy.
        left_out: What there is beside the images and was left out, a line each.
        notes: What was done that the files do not say, such as to split or to clip, a line each.

    Raises:
        InputError: Two classes have the same name.
    """

    classes: tuple[str, ...]
    normalise: Normalisation
    task: str = "classify"
    crop: float = 1.0
    train: Split
    val: Split
    test: Split
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        name, count = max(Counter(self.classes).items(), key=itemgetter(1))
        if count > 1:
            raise InputError(f"the classes of a data set need different names, but {count} are {name!r}; rename them")

    @property
    def splits(self) -> dict[str, Split]:
        """The splits by name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def channels(self) -> int:
        """The number of input channels: 1 for grey images, 3 for RGB."""
        return len(self.normalise.mean)

    def to(self, device: torch.device) -> "Data":
        """Return the data set with its batches' images on a device, where they are normalised."""
        return replace(self, train=self.train.to(device), val=self.val.to(device), test=self.test.to(device))

    def training_batches(
        self,
        batch_size: int,
        resolutions: Sequence[Size],
        *,
        seed: int,
        epoch: int,
        start: int = 0,
        augmentation: str = "standard",
        ranges: AugmentationRanges = DEFAULT_RANGES,
    ) -> Iterator[Batch]:
        """Yield the shuffled, augmented training batches of an epoch; the same ones for the same seed and epoch.

        In data-parallel training, each process gets its own shard of every batch: together they get the images that a
        single process would get, augmented alike.

        Args:
            batch_size: Images per batch, over all processes.
            resolutions: Image sizes in pixels; each batch has one of them, drawn uniformly.
            seed: Of the order of the images, the resolutions and the augmentation.
            epoch: Epoch number, from 0; each epoch has its own order.
            start: Number of the first batch to yield; the earlier ones are not read.
            augmentation: "none", "light", "standard" or "strong".
            ranges: How far the random changes go.

        Raises:
            InputError: The batch size is not a multiple of the number of processes.
            FileError: An image cannot be read.
        """
        numbers = range(start, self.steps_per_epoch(batch_size))
        rngs = (generator(seed, f"augmentation {epoch}", number) for number in numbers)
        order = torch.from_numpy(generator(seed, "order", epoch).permutation(len(self.train)))
        parts = torch.split(order, batch_size)[start : numbers.stop]
        requests, yielded = tee(_training_requests(parts, rngs, resolutions, augmentation, ranges))
        batches = self.train.batches(requests, self.normalise)
        for number, request, (images, labels) in zip(numbers, yielded, batches, strict=True):
            yield Batch(images, labels, request.shard_indices, number)

    def steps_per_epoch(self, batch_size: int) -> int:
        """Return the number of batches of an epoch: full ones, or a single smaller one if there are too few images."""
        return max(1, len(self.train) // batch_size)

    def evaluation_batches(
        self, split: Split, resolution: Size, batch_size: int = EVALUATION_BATCH
    ) -> Iterator[LabelledBatch]:
        """Yield all images of a split once, in order and without augmentation.

        Images are floats (N, C, H, W) with N at most `batch_size`; labels as in LabelledBatch.
        """
        requests = []
        for indices in torch.split(torch.arange(len(split)), batch_size):
            requests.append(BatchRequest(indices, resolution))
        return split.batches(requests, self.normalise)

    def calibration_batches(
        self, resolution: Size, images: int = 500, batch_size: int = 250, *, ranges: AugmentationRanges | None = None
    ) -> list[Tensor]:
        """Return a fixed random choice of training images, in batches of about equal size.

        Batch-norm statistics and int8 ranges are estimated on them. Each batch is floats (N, C, H, W)
        with N at most `batch_size`.

        Args:
            resolution: Image size in pixels.
            images: How many images, if there are as many.
            batch_size: Most images of a batch.
            ranges: How far random changes of the images go, which are always the same; None: they are not augmented.
        """
        return list(self.read_calibration_batches(resolution, images, batch_size, ranges=ranges))

    def read_calibration_batches(
        self, resolution: Size, images: int, batch_size: int = 250, *, ranges: AugmentationRanges | None = None
    ) -> Iterator[Tensor]:
        """Yield what `calibration_batches` returns, read one batch after the other."""
        order = torch.from_numpy(generator(0, "calibration").permutation(len(self.train))[:images])
        num_batches = -(-len(order) // batch_size)
        requests = []
        for number, indices in enumerate(torch.tensor_split(order, num_batches)):
            request = BatchRequest(indices, resolution)
            if ranges is not None:
                seed = int(generator(0, "calibration augmentation", number).integers(2**31))
                request = request._replace(seed=seed, ranges=ranges)
            requests.append(request)
        for pixels, _ in self.train.batches(requests, self.normalise):
            yield pixels


def _training_requests(
    parts: Sequence[Tensor],
    rngs: Iterable[np.random.Generator],
    resolutions: Sequence[Size],
    augmentation: str,
    ranges: AugmentationRanges,
) -> Iterator[BatchRequest]:
    """Yield the requests of training batches.

    Args:
        parts: Indices of the images of every whole batch.
        rngs: Draws the resolution and the seed of the augmentation of every batch.
        resolutions: Image sizes in pixels.
        augmentation: "none", "light", "standard" or "strong".
        ranges: Of the augmentation.
    """
    for indices, rng in zip(parts, rngs, strict=True):
        seed = int(rng.integers(2**31))
        yield BatchRequest(
            indices=indices,
            resolution=resolutions[int(rng.integers(len(resolutions)))],
            seed=None if augmentation == "none" else seed,
            strong=augmentation == "strong",
            shard=shard(len(indices)),
            ranges=ranges,
        )
