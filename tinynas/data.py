"""Data sets by name, their splits, and batches of them.

Every set has three splits: `train`; `val`, held out of the training images, the only one a search or a choice
between networks looks at; and `test`, looked at once, at the end. The splits never depend on a run's seed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from .parallel import rank, share

# Images (N, C, resolution, resolution), normalised floats, and their labels: class indices (N,). For detection, the
# labels are targets: floats (M, 6), a row for each object of the batch, the index of its image in the batch, its class
# index, x1, y1, x2, y2 (left, top, right, bottom), in 0..1 of the image's sides.
Labelled = tuple[Tensor, Tensor]
AUGMENTATIONS = ("none", "standard", "strong")  # how training images are changed at random


class Batch(NamedTuple):
    """What a training step sees."""

    images: Tensor  # (N, C, resolution, resolution), normalised floats
    labels: Tensor  # (N,) class indices; for detection (M, 6) targets, as in Labelled
    indices: Tensor  # (N,) of the images in the training split
    number: int  # in its epoch, from 0

    def to(self, device: torch.device) -> "Batch":
        """The same with images and labels there."""
        return self._replace(images=self.images.to(device), labels=self.labels.to(device))


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Pixels in 0..1, less the mean, over the deviation, per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 (N, C, H, W) -> float (N, C, H, W)."""
        mean = torch.tensor(self.mean, device=pixels.device).view(-1, 1, 1)
        std = torch.tensor(self.std, device=pixels.device).view(-1, 1, 1)
        return (pixels.float() / 255 - mean) / std


IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


class Wanted(NamedTuple):
    """A batch that is asked of a split."""

    indices: Tensor  # (N,) of its images
    resolution: int
    seed: int | None = None  # of their random augmentation; None for none
    strong: bool = (
        False  # augmented with TrivialAugment as well (Mueller and Hutter, ICCV 2021); to detect, with mosaics
    )


class Split(Protocol):
    """Labelled images, wherever they are kept."""

    @property
    def labels(self) -> Tensor:
        """Of the whole split: class indices (N,); for detection targets (M, 6), as in Labelled."""
        ...

    def __len__(self) -> int:
        """The number of images."""
        ...

    def batches(self, wanted: Sequence[Wanted], normalise: Normalisation) -> Iterator[Labelled]:
        """The wanted batches."""
        ...


@dataclass(frozen=True, kw_only=True)
class Data:
    """A data set: its splits, class names, and how an image becomes a network's input."""

    classes: tuple[str, ...]
    normalise: Normalisation
    task: str = "classify"  # or "detect": labels are then boxes, and images are stretched to squares
    crop: float = 1.0  # a network sees a square in the middle, of this share of the image's shorter side
    train: Split
    val: Split
    test: Split

    @property
    def channels(self) -> int:
        return len(self.normalise.mean)

    def training_batches(
        self,
        batch_size: int,
        resolutions: Sequence[int],
        *,
        seed: int,
        epoch: int,
        start: int = 0,
        augmentation: str = "standard",
    ) -> Iterator[Batch]:
        """The shuffled, augmented batches of an epoch, from batch number `start` on; the same for the same seed.

        Each batch has one of the resolutions, drawn uniformly. In a data-parallel training, this process's share.
        `augmentation` is one of AUGMENTATIONS.
        """
        order = torch.from_numpy(generator(seed, "order", epoch).permutation(len(self.train)))
        steps = range(start, self.steps_per_epoch(batch_size))
        wanted = []
        for i in steps:
            rng, chosen = generator(seed, f"augmentation {epoch}", i), order[i * batch_size : (i + 1) * batch_size]
            draw = int(rng.integers(2**31)) + rank()
            size, given = int(rng.choice(resolutions)), None if augmentation == "none" else draw
            wanted.append(Wanted(share(chosen), size, given, augmentation == "strong"))
        batches = self.train.batches(wanted, self.normalise)
        for i, one, (images, labels) in zip(steps, wanted, batches, strict=True):
            yield Batch(images, labels, one.indices, i)

    def steps_per_epoch(self, batch_size: int) -> int:
        """Batches of an epoch; a last one that is not full is left out, unless it is the only one."""
        return max(1, len(self.train) // batch_size)

    def evaluation_batches(self, split: Split, resolution: int, batch_size: int = 250) -> Iterator[Labelled]:
        """All images of a split once, in order, not augmented."""
        parts = torch.split(torch.arange(len(split)), batch_size)
        return split.batches([Wanted(part, resolution) for part in parts], self.normalise)

    def calibration_batches(self, resolution: int, images: int = 500, batch_size: int = 250) -> list[Tensor]:
        """A fixed choice of training images, not augmented, in equal batches: to set statistics and int8 ranges by."""
        order = torch.from_numpy(generator(0, "calibration").permutation(len(self.train))[:images])
        parts = torch.tensor_split(order, -(-len(order) // batch_size))
        return [x for x, _ in self.train.batches([Wanted(part, resolution) for part in parts], self.normalise)]


@dataclass(frozen=True, kw_only=True)
class MemorySplit:
    """Images kept in memory as uint8 (N, C, H, W) and augmented a batch at a time: shifted, and mirrored if `flip`."""

    images: Tensor
    labels: Tensor
    flip: bool = False
    shift: int = 0  # pixels, at most, in each direction

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, wanted: Sequence[Wanted], normalise: Normalisation) -> Iterator[Labelled]:
        for indices, resolution, seed, strong in wanted:
            images = self.images[indices]
            if seed is not None:
                images = self._augment(trivial_augment(images, seed) if strong else images, seed)
            yield resize(normalise(images), resolution), self.labels[indices]

    def _augment(self, images: Tensor, seed: int) -> Tensor:
        rng = torch.Generator().manual_seed(seed)
        count, _, height, width = images.shape
        if self.flip:
            mirrored = torch.rand(count, generator=rng) < 0.5
            images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)
        if not self.shift:
            return images
        padded = torch.nn.functional.pad(images, [self.shift] * 4)
        top, left = torch.randint(2 * self.shift + 1, (2, count, 1), generator=rng)
        rows, columns = top + torch.arange(height), left + torch.arange(width)  # (N, H), (N, W)
        return padded[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def trivial_augment(images: Tensor, seed: int) -> Tensor:
    """Each image changed in one random way of random strength: uint8 (N, C, H, W), the same shape."""
    from torchvision.transforms import v2

    change = v2.TrivialAugmentWide()
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        return torch.stack([change(image) for image in images])


def hold_out(labels: Tensor, fraction: float, purpose: str) -> tuple[Tensor, Tensor]:
    """Indices split in two, the second with this fraction of every class (at least one image); always the same."""
    order = torch.from_numpy(generator(0, purpose).permutation(len(labels)))
    by_class = torch.split(order[labels[order].argsort(stable=True)], labels.bincount().tolist())
    held = [of_class[: max(1, round(fraction * len(of_class)))] for of_class in by_class if len(of_class)]
    second = torch.cat(held).sort().values
    first = torch.ones(len(labels), dtype=torch.bool)
    first[second] = False
    return first.nonzero().flatten(), second


def generator(seed: int, purpose: str, step: int = 0) -> np.random.Generator:
    """The random generator of one purpose at one step: a resumed run draws what it would have drawn."""
    return np.random.default_rng([seed, crc32(purpose.encode()), step])


def resize(images: Tensor, resolution: int) -> Tensor:
    """Bilinear, antialiased: (N, C, H, W) -> (N, C, resolution, resolution)."""
    if images.shape[-2:] == (resolution, resolution):
        return images
    return torch.nn.functional.interpolate(images, (resolution, resolution), mode="bilinear", antialias=True)
