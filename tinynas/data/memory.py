"""Data sets whose images are kept in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..utils.rng import generator
from .base import Labelled, Normalisation, Wanted
from .transforms import resize, trivial_augment


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


def hold_out(labels: Tensor, fraction: float, purpose: str) -> tuple[Tensor, Tensor]:
    """Indices split in two, the second with this fraction of every class (at least one image); always the same."""
    order = torch.from_numpy(generator(0, purpose).permutation(len(labels)))
    by_class = torch.split(order[labels[order].argsort(stable=True)], labels.bincount().tolist())
    held = [of_class[: max(1, round(fraction * len(of_class)))] for of_class in by_class if len(of_class)]
    second = torch.cat(held).sort().values
    first = torch.ones(len(labels), dtype=torch.bool)
    first[second] = False
    return first.nonzero().flatten(), second
