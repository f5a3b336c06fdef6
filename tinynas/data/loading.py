"""Batches whose images are made one at a time: read from files, cropped, augmented; by worker processes if many."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..utils.errors import FileError
from .base import Wanted

Joined = TypeVar("Joined")
Sample = TypeVar("Sample")
_WORKERS = 4
_FEW_FILES = 256  # up to which starting workers costs more than it saves


class WantedImage(NamedTuple):
    """One image of a batch that is to be made."""

    image: int  # its index in the split
    resolution: int
    seed: int | None
    strong: bool


def load(
    make: Callable[[WantedImage], Sample],
    join: Callable[[list[Sample]], Joined],
    wanted: Sequence[Wanted],
    *,
    files: int,
) -> Iterator[Joined]:
    """The wanted batches: their samples made, then joined; the same whoever makes them.

    `files` says how many the split is read from: if many, workers make the batches, else this process. Raises the
    FileError that `make` raises.
    """
    chosen = [
        [WantedImage(int(i), size, None if seed is None else seed + n, strong) for n, i in enumerate(indices)]
        for indices, size, seed, strong in wanted
    ]
    workers = min(_WORKERS, os.cpu_count() or 1, len(chosen)) if files > _FEW_FILES else 0
    loader = torch.utils.data.DataLoader(
        _Samples(make),
        batch_sampler=chosen,
        num_workers=workers,
        collate_fn=partial(_joined, join),
        generator=torch.Generator(),  # its own: else it draws from everybody's
    )
    for batch in loader:
        if isinstance(batch, FileError):  # brought here as a value: raised in a worker it would come with its traceback
            raise batch
        yield batch


class _Samples(torch.utils.data.Dataset[Sample | FileError]):
    """What is wanted -> the sample, or the error that making it raised."""

    def __init__(self, make: Callable[[WantedImage], Sample]) -> None:
        self.make = make

    def __getitem__(self, wanted: WantedImage) -> Sample | FileError:
        try:
            return self.make(wanted)
        except FileError as error:
            return error


def _joined(join: Callable[[list[Sample]], Joined], samples: list[Sample | FileError]) -> Joined | FileError:
    made = []
    for sample in samples:
        if isinstance(sample, FileError):
            return sample
        made.append(sample)
    return join(made)


class ImageFiles:
    """Image files of any format PIL reads: index -> uint8 (3, H, W), RGB."""

    def __init__(self, files: Sequence[str]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __call__(self, index: int) -> Tensor:
        """Raises FileError if there is no image that can be read."""
        return read_image(self.files[index])


def read_image(file: str | Path, colours: int = 3) -> Tensor:
    """uint8 (colours, H, W): RGB, or grey if that is 1. Raises FileError if there is no image that can be read."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            pixels = np.array(image.convert("L" if colours == 1 else "RGB"))
    except Exception:  # a damaged image makes PIL raise almost anything
        raise FileError(f"cannot read the image {file}; remove or replace it") from None
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], colours)).permute(2, 0, 1)
