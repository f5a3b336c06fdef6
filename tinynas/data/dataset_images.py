"""Images of a program's datasets: read once to check them, then kept in memory, or read again whenever needed."""

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from ..utils.errors import InputError
from ..utils.text import first_line
from .digest import tensor_digest, text_digest
from .pixels import to_pixels


class Dataset(Protocol):
    """What a map-style `torch.utils.data.Dataset` has: samples by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def read_sample(dataset: Dataset, index: int, name: str) -> tuple[Any, Any]:
    """Return the image and the label of a sample as a program's dataset has them.

    Args:
        dataset: The dataset.
        index: Index of the sample.
        name: What the sample is called in error messages, such as "train[3]".

    Raises:
        InputError: The dataset raises an exception, which is the cause, or its sample is no pair.
    """
    try:
        sample = dataset[index]
    except Exception as error:
        reason = first_line(str(error))
        described = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
        raise InputError(f"{name} cannot be read, the dataset raised {described}; correct the dataset") from error
    if not isinstance(sample, Sequence) or len(sample) != 2:
        raise InputError(f"{name} is of the type {type(sample).__name__}; expected a pair of an image and its label")
    return sample[0], sample[1]


class ImageRecord(NamedTuple):
    """An image of a program's dataset that was read and checked."""

    dataset: Dataset | None  # None if the pixels are kept: nothing is read again
    number: int  # its index in the dataset
    name: str  # such as "train[3]"
    shape: tuple[int, int, int]  # channels, height, width
    digest: str  # SHA-256 of its pixels
    pixels: Tensor | None  # uint8 (C, H, W); None if they are read again whenever needed


class DatasetImages:
    """Checked images of a program's datasets: maps an index to pixels, uint8 (C, H, W)."""

    for_workers = sys.platform == "linux"  # where they are forked: a dataset need not be one that can be pickled

    def __init__(self, records: Sequence[ImageRecord]) -> None:
        self.records = records

    def __call__(self, index: int, *, reduction: int = 1) -> Tensor:
        """Return an image, never smaller.

        Raises:
            InputError: It is read again, and is another one than before.
        """
        record = self.records[index]
        if record.pixels is not None:
            return record.pixels
        assert record.dataset is not None
        pixels = to_pixels(read_sample(record.dataset, record.number, record.name)[0], record.name)
        if tensor_digest(pixels) != record.digest:
            raise InputError(
                f"the image of {record.name} is another one whenever it is read; leave random transforms to tinynas "
                "(augmentation=...)"
            )
        return pixels

    def size(self, index: int) -> tuple[int, int]:
        """Return the height and width of an image."""
        _, height, width = self.records[index].shape
        return height, width

    def name(self, index: int) -> str:
        """Return the part of the data set and the index in it: "train[3]"."""
        return self.records[index].name

    def digests(self) -> list[str]:
        """Return the SHA-256 of the pixels of each image."""
        return [record.digest for record in self.records]

    def digest(self) -> str:
        """Return the SHA-256 of all images."""
        return text_digest(self.digests())

    def subset(self, indices: Sequence[int]) -> "DatasetImages":
        """Return some of the images."""
        return DatasetImages([self.records[index] for index in indices])

    def kept(self) -> "DatasetImages":
        """Return the images, of which all pixels are kept, without their dataset: other processes need not have it."""
        return DatasetImages([record._replace(dataset=None) for record in self.records])

    def without_pixels(self) -> "DatasetImages":
        """Return the images, to be read again whenever they are needed."""
        return DatasetImages([record._replace(pixels=None) for record in self.records])

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """Channels, height and width, if all images have the same."""
        shapes = {record.shape for record in self.records}
        return shapes.pop() if len(shapes) == 1 else None
