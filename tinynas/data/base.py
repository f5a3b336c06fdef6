"""Data sets by name, their splits, and batches of them.

Every set has three splits: `train`; `val`, held out of the training images, the only one a search or a choice
between networks looks at; and `test`, looked at once, at the end. The splits never depend on a run's seed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..utils.distributed import rank, shard
from ..utils.rng import generator

# Images (N, C, resolution, resolution), normalised floats, and their labels: class indices (N,). For detection, the
# labels are targets: floats (M, 6), a row for each object of the batch, the index of its image in the batch, its class
# index, x1, y1, x2, y2 (left, top, right, bottom), in 0..1 of the image's sides.
Labelled = tuple[Tensor, Tensor]


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
            wanted.append(Wanted(shard(chosen), size, given, augmentation == "strong"))
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
