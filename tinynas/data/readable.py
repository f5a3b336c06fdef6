"""Image files that cannot be read: an error before anything is trained, or left out."""

from collections.abc import Sequence
from dataclasses import replace

from ..utils.errors import FileError, some_names
from ..utils.text import counted
from .base import Data, Split
from .files import ImageFile
from .identity import SPLIT_NAMES
from .labels import class_counts


def image_files(split: Split) -> Sequence[ImageFile]:
    """Return the image files of a split; none if its images are in memory."""
    files: Sequence[ImageFile] = getattr(split, "image_files", ())
    return files


def readable(data: Data, name: str, *, skip_unreadable: bool) -> Data:
    """Return the data set, without the images that cannot be read if these are to be skipped.

    Args:
        data: The data set.
        name: Its name, for error messages.
        skip_unreadable: Whether to leave out such images.

    Raises:
        FileError: There are such images, and they are not skipped; or no others are left in a split, or of a class.
    """
    unreadable: list[ImageFile] = []
    total = 0
    kept = {}
    for part, split in data.splits.items():
        files = image_files(split)
        total += len(files)
        indices = [index for index, file in enumerate(files) if file.problem is None]
        if len(indices) < len(files):
            unreadable += [file for file in files if file.problem is not None]
            kept[part] = split.subset(indices)  # type: ignore[attr-defined]
    if not unreadable:
        return data
    described = some_names([f"{file.path} ({file.problem})" for file in unreadable], most=5)
    if not skip_unreadable:
        raise FileError(
            f"{len(unreadable)} of {total} images of {name} cannot be read: {described}; "
            "replace them, or leave them out with --skip-unreadable"
        )
    line = f"{counted(len(unreadable), 'image')} that cannot be read: {described}"
    remaining = replace(data, left_out=(*data.left_out, line), **kept)
    _check_enough(data, remaining, name)
    return remaining


def _check_enough(before: Data, data: Data, name: str) -> None:
    """Raise FileError if a split has no images left, or a class none to train on."""
    for part, split in data.splits.items():
        if not len(split):
            raise FileError(f"no {SPLIT_NAMES[part]} image of {name} can be read; replace them")
    counts = class_counts(data.train, data.classes)
    lost = [label for label, count in class_counts(before.train, data.classes).items() if count and not counts[label]]
    if lost:
        raise FileError(f"no training image of {some_names(lost)} in {name} can be read; replace them")
