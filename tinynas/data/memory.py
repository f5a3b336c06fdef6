"""Data sets whose images fit in memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..utils.errors import InputError
from ..utils.rng import generator
from .base import BatchRequest, Data, LabelledBatch, Normalisation
from .digest import tensor_digest
from .identity import SPLIT_NAMES
from .transforms import central_part, resize
from .trivial_augment import RandomChanges


@dataclass(frozen=True, kw_only=True)
class MemorySplit:
    """A split whose images are kept in memory and augmented a batch at a time, by shifts and mirroring.

    Where a setting has the smallest area of random crops, they take the place of the shifts.

    Attributes:
        images: uint8 (N, C, H, W), on the device of the batches.
        labels: Class indices (N,).
        flip: Whether augmentation mirrors half of the images.
        shift: Largest shift of the augmentation, in pixels in each direction; the border is filled with zeros.
    """

    images: Tensor
    labels: Tensor
    flip: bool = False
    shift: int = 0

    def __len__(self) -> int:
        return len(self.images)

    def digest(self) -> str:
        """Return the SHA-256 of all images and labels."""
        return tensor_digest(self.images, self.labels)

    def to(self, device: torch.device) -> "MemorySplit":
        """Return the split with its images on a device, itself if they are there."""
        if self.images.device == device:
            return self
        return replace(self, images=self.images.to(device))

    def batches(self, requests: Iterable[BatchRequest], normalise: Normalisation) -> Iterator[LabelledBatch]:
        """Yield one batch per request: augmented if it has a seed, normalised, then resized without distortion."""
        for request in requests:
            images = self._augmented(request)
            seen = central_part(normalise(images), request.resolution)
            yield resize(seen, request.resolution), self.labels[request.shard_indices]

    def _augmented(self, request: BatchRequest) -> Tensor:
        """Return the images (N, C, H, W) of a request's shard, augmented if it has a seed."""
        images = self.images[request.shard_indices]
        if request.seed is None:
            return images
        rng = torch.Generator().manual_seed(request.seed)  # of the CPU: the same numbers on all devices
        if request.strong:
            images = RandomChanges.draw(len(request.indices), rng).of(request.shard).apply(images)
        return self._change_each(self._mirror_and_shift(images, request, rng), request)

    def _change_each(self, images: Tensor, request: BatchRequest) -> Tensor:
        """Crop images (N, C, H, W) of the request's shard at random, and jitter their colours, if a setting says so."""
        if not request.ranges.changes_each:
            return images
        assert request.seed is not None
        positions = range(len(request.indices))[request.shard]
        changed = []
        with torch.random.fork_rng([]):
            for image, position in zip(images, positions, strict=True):
                torch.default_generator.manual_seed(request.seed + 1 + position)
                if request.ranges.crop_scale is not None:
                    image = request.ranges.crop(image, (image.shape[1], image.shape[2]), default=1.0)
                changed.append(request.ranges.jitter(image))
        return torch.stack(changed)

    def _mirror_and_shift(self, images: Tensor, request: BatchRequest, rng: torch.Generator) -> Tensor:
        """Mirror and shift images (N, C, H, W) of the request's shard, by random numbers of the whole batch."""
        device = images.device
        batch_size = len(request.indices)
        count, _, height, width = images.shape
        if self.flip and request.ranges.mirror:
            mirrored = (torch.rand(batch_size, generator=rng)[request.shard] < 0.5).to(device)
            images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)
        shift = request.ranges.shift(self.shift)
        if not shift:
            return images
        padded = torch.nn.functional.pad(images, [shift] * 4)
        shifts = torch.randint(2 * shift + 1, (2, batch_size, 1), generator=rng)[:, request.shard]
        top, left = shifts.to(device)
        numbers = torch.arange(count, device=device).view(-1, 1, 1, 1)
        channels = torch.arange(images.shape[1], device=device).view(-1, 1, 1)
        rows = (top + torch.arange(height, device=device)).view(-1, 1, height, 1)
        columns = (left + torch.arange(width, device=device)).view(-1, 1, 1, width)
        return padded[numbers, channels, rows, columns]


def hold_out(labels: Tensor, fraction: float, purpose: str) -> tuple[Tensor, Tensor]:
    """Split indices in two, the second part with this fraction of every class.

    It has at least one image of every class, but of a class with a single image, which remains.

    Args:
        labels: Class indices (N,).
        fraction: Of the images of each class.
        purpose: The split that the second part becomes, "val" or "test". It seeds the choice, which is always the same.

    Returns:
        The remaining and the held-out indices, each in ascending order.

    Raises:
        InputError: Every class has a single image, so that none can be held out.
    """
    order = torch.from_numpy(generator(0, purpose).permutation(len(labels)))
    by_class = torch.split(order[labels[order].argsort(stable=True)], labels.bincount().tolist())
    parts = []
    for members in by_class:
        if len(members) > 1:
            count = max(1, round(fraction * len(members)))
            parts.append(members[: min(count, len(members) - 1)])
    if not parts:
        raise InputError(
            f"no class has more than one of the {len(labels)} training images, so that none can be held out as "
            f"{SPLIT_NAMES[purpose]}; add images"
        )
    held_out = torch.cat(parts).sort().values
    remaining = torch.ones(len(labels), dtype=torch.bool)
    remaining[held_out] = False
    return remaining.nonzero().flatten(), held_out


def in_memory(
    classes: tuple[str, ...],
    train: LabelledBatch,
    test: LabelledBatch,
    val_fraction: float,
    *,
    shift: int,
    flip: bool = False,
) -> Data:
    """Return a data set of images in memory, a fraction of the training images held out as search-val.

    Args:
        classes: Names of the classes.
        train: Images uint8 (N, C, H, W) and class indices (N,).
        test: The same of the test split.
        val_fraction: Fraction of the training images of every class.
        shift: Largest shift of the augmentation, in pixels.
        flip: Whether augmentation mirrors half of the images.
    """
    images, labels = train
    remaining, held_out = hold_out(labels, val_fraction, "val")
    train_images = images[remaining]
    pixels = train_images.float().div_(255)
    return Data(
        classes=classes,
        normalise=Normalisation(mean=_rounded(pixels.mean((0, 2, 3))), std=_rounded(pixels.std((0, 2, 3)))),
        train=MemorySplit(images=train_images, labels=labels[remaining], flip=flip, shift=shift),
        val=MemorySplit(images=images[held_out], labels=labels[held_out]),
        test=MemorySplit(images=test[0], labels=test[1]),
    )


def class_indices(values: Any) -> Tensor:
    """Return labels (N,) as int64."""
    return torch.as_tensor(np.asarray(values), dtype=torch.int64)


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in values.tolist())
