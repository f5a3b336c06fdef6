"""Two splits as one: the training images, and search-val, which was held out of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..utils.errors import InputError
from .base import Data, Split
from .boxes import BoxSplit
from .dataset_images import DatasetImages
from .digest import text_digest
from .files import ImageFiles
from .image_split import ImageSplit
from .memory import MemorySplit
from .objects import only_trained_on
from .sources import CheckedImages, ImageSource


def with_search_val_in_train(data: Data) -> Data:
    """Return the data set with the images of search-val in its training split as well.

    Raises:
        InputError: Its splits are of a kind that cannot be joined.
    """
    return replace(data, train=_joined(data.train, data.val))


def _joined(first: Split, second: Split) -> Split:
    """Return the split of the images of both, augmented as the first is."""
    if isinstance(first, ImageSplit) and isinstance(second, ImageSplit):
        read = _joined_images(first.read, second.read)
        if read is not None:
            return replace(first, read=read, labels=torch.cat([first.labels, second.labels]))
    if isinstance(first, MemorySplit) and isinstance(second, MemorySplit):
        images = torch.cat([first.images, second.images])
        return replace(first, images=images, labels=torch.cat([first.labels, second.labels]))
    if isinstance(first, BoxSplit) and isinstance(second, BoxSplit):
        return _joined_boxes(first, second)
    raise _not_joinable(first, second)


def _joined_boxes(first: BoxSplit, second: BoxSplit) -> BoxSplit:
    objects = list(first.objects) + [only_trained_on(of_image) for of_image in second.objects]
    images = _joined_images(first.read, second.read)
    if images is not None:
        return replace(first, read=images, objects=objects)
    picks = [(first.read, index) for index in range(len(first))]
    for index in range(len(second)):
        picks.append((second.read, index))
    return replace(first, read=_Images(picks), objects=objects)


def _joined_images(first: ImageSource, second: ImageSource) -> CheckedImages | None:
    """Return the images of both, if these are files, or those of a program's datasets."""
    if isinstance(first, ImageFiles) and isinstance(second, ImageFiles):
        return ImageFiles(list(first.images) + list(second.images))
    if isinstance(first, DatasetImages) and isinstance(second, DatasetImages):
        return DatasetImages(list(first.records) + list(second.records))
    return None


@dataclass(frozen=True)
class _Images:
    """Images of several sources: an `ImageSource`."""

    picks: Sequence[tuple[ImageSource, int]]  # source of every image, and its index there
    for_workers: bool = False

    def __call__(self, index: int) -> Tensor:
        source, index_in_source = self.picks[index]
        return source(index_in_source)

    def size(self, index: int) -> tuple[int, int]:
        """Return the height and width of an image."""
        source, index_in_source = self.picks[index]
        height, width = source(index_in_source).shape[-2:]
        return height, width

    def digest(self) -> str:
        """Return the SHA-256 of all images."""
        return text_digest([f"{source.digest()} {index}" for source, index in self.picks])

    def subset(self, indices: Sequence[int]) -> "_Images":
        """Return some of the images."""
        return _Images([self.picks[index] for index in indices])


def _not_joinable(first: object, second: object) -> InputError:
    return InputError(
        f"train_on_all cannot join a {type(first).__name__} and a {type(second).__name__}, the training images and "
        "search-val of this data set; remove it"
    )
