"""Two splits as one: the training images, and search-val, which was held out of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..utils.errors import InputError
from .base import Data, Split
from .boxes import BoxSplit, ImageSource
from .digest import text_digest
from .files import ImageFiles
from .labelled_files import FileSplit
from .memory import MemorySplit


def with_search_val_in_train(data: Data) -> Data:
    """Return the data set with the images of search-val in its training split as well.

    Raises:
        InputError: Its splits are of a kind that cannot be joined.
    """
    return replace(data, train=_joined(data.train, data.val))


def _joined(first: Split, second: Split) -> Split:
    """Return the split of the images of both, augmented as the first is."""
    if isinstance(first, FileSplit) and isinstance(second, FileSplit):
        labels = torch.cat([first.labels, second.labels])
        return replace(first, image_files=list(first.image_files) + list(second.image_files), labels=labels)
    if isinstance(first, MemorySplit) and isinstance(second, MemorySplit):
        images = torch.cat([first.images, second.images])
        return replace(first, images=images, labels=torch.cat([first.labels, second.labels]))
    if isinstance(first, BoxSplit) and isinstance(second, BoxSplit):
        return _joined_boxes(first, second)
    raise _not_joinable(first, second)


def _joined_boxes(first: BoxSplit, second: BoxSplit) -> BoxSplit:
    objects = list(first.objects) + list(second.objects)
    if isinstance(first.read, ImageFiles) and isinstance(second.read, ImageFiles):
        return replace(first, read=ImageFiles(list(first.read.images) + list(second.read.images)), objects=objects)
    picks = [(first.read, index) for index in range(len(first))]
    for index in range(len(second)):
        picks.append((second.read, index))
    return replace(first, read=_Images(picks), objects=objects)


@dataclass(frozen=True)
class _Images:
    """Images of several sources: an `ImageSource`."""

    picks: Sequence[tuple[ImageSource, int]]  # source of every image, and its index there

    def __call__(self, index: int) -> Tensor:
        source, index_in_source = self.picks[index]
        return source(index_in_source)

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
