"""The one pass over a program's datasets that reads and checks all samples."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..utils.errors import InputError
from .dataset_images import Dataset, DatasetImages, ImageRecord, read_sample
from .dataset_labels import class_index, objects_of
from .digest import tensor_digest
from .pixels import to_pixels

KEPT_BYTES = 2**30  # of pixels of a whole data set, up to which they are kept in memory
_LOG_SECONDS = 10.0  # between messages about the progress of a long check
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Checked samples of a part of a data set.

    Attributes:
        images: The images.
        targets: Their class indices, or objects (M, 7).
        moments: For every image two lists: the sums of the values of each channel, from 0 to 255, and of their squares.
    """

    images: DatasetImages
    targets: list[Any]
    moments: list[list[list[float]]]

    @property
    def labels(self) -> Tensor:
        """The class indices (N,)."""
        return torch.tensor(self.targets, dtype=torch.int64)

    def subset(self, indices: Sequence[int]) -> "Samples":
        """Return some of the samples."""
        return Samples(
            images=self.images.subset(indices),
            targets=[self.targets[index] for index in indices],
            moments=[self.moments[index] for index in indices],
        )

    def settled(self, *, keeps_pixels: bool) -> "Samples":
        """Return the samples with images that are kept in memory, or read again whenever they are needed."""
        return replace(self, images=self.images.kept() if keeps_pixels else self.images.without_pixels())


class DatasetReader:
    """Reads and checks the datasets of a program that together are a data set.

    Args:
        task: "classify" or "detect".
        classes: Names of the classes.

    Attributes:
        keeps_pixels: Whether the pixels that were read so far are so few that they are kept in memory.
    """

    def __init__(self, task: str, classes: Sequence[str]) -> None:
        self.keeps_pixels = True
        self._task = task
        self._classes = classes
        self._num_bytes = 0
        self._first: tuple[str, int] | None = None  # name and channels of the first image

    def read(self, dataset: Dataset, part: str) -> Samples:
        """Read and check all samples of a part of the data set.

        Args:
            dataset: The samples.
            part: "train", "val" or "test".

        Raises:
            InputError: A sample, which the message names, is not as `Datasets` says.
        """
        records: list[ImageRecord] = []
        targets, moments = [], []
        for index in _logged(len(dataset), part):
            name = f"{part}[{index}]"
            pixels, target = self.sample(dataset, index, name)
            channels, height, width = pixels.shape
            kept_before = self.keeps_pixels
            self._count(pixels.numel(), expected=pixels.numel() * len(dataset) if index == 0 else 0)
            if kept_before and not self.keeps_pixels:
                records = [record._replace(pixels=None) for record in records]
            kept = pixels if self.keeps_pixels else None
            records.append(ImageRecord(dataset, index, name, (channels, height, width), tensor_digest(pixels), kept))
            targets.append(target)
            moments.append(_moments(pixels))
        return Samples(images=DatasetImages(records), targets=targets, moments=moments)

    def sample(self, dataset: Dataset, index: int, name: str) -> tuple[Tensor, Any]:
        """Read and check a sample.

        Args:
            dataset: The samples.
            index: Of the sample.
            name: What errors call it, "train[0]".

        Returns:
            The pixels (C, H, W), uint8, and the class index or the objects (M, 7).

        Raises:
            InputError: The sample is not as `Datasets` says.
        """
        value, label = read_sample(dataset, index, name)
        pixels = to_pixels(value, name)
        self._check_channels(name, len(pixels))
        return pixels, self._target(label, pixels, name)

    def _check_channels(self, name: str, channels: int) -> None:
        """Raise InputError unless an image has the channels of the first one that was read."""
        self._first = self._first or (name, channels)
        first_name, first_channels = self._first
        if channels != first_channels:
            raise InputError(
                f"{first_name} has {first_channels} channels, and {name} has {channels}; convert all to grey or RGB"
            )

    def _count(self, num_bytes: int, *, expected: int) -> None:
        """Count the bytes of an image; keep no pixels if there are too many of them.

        Args:
            num_bytes: Of the image.
            expected: Bytes of a whole dataset, if all of its images are as large as its first one.
        """
        self._num_bytes += num_bytes
        self.keeps_pixels = self.keeps_pixels and max(self._num_bytes, expected) <= KEPT_BYTES

    def _target(self, label: Any, image: Tensor, name: str) -> Any:
        """Return the class index or the objects of an image."""
        if self._task == "classify":
            return class_index(label, len(self._classes), f"the label of {name}")
        return objects_of(label, image, len(self._classes), name)


def _moments(image: Tensor) -> list[list[float]]:
    values = image.flatten(1).double()
    return [values.sum(1).tolist(), values.square().sum(1).tolist()]


def _logged(total: int, part: str) -> Iterator[int]:
    """Yield the indices of a part's samples; log how many have been checked, if they take long."""
    logged_at = time.monotonic()
    for index in range(total):
        if time.monotonic() - logged_at > _LOG_SECONDS:
            logged_at = time.monotonic()
            logger.info("checked %d of the %d samples of %s, once", index, total, part)
        yield index
