"""Image files with annotated objects, whatever the format of the annotations; the formats are in voc.py and coco.py.

A tenth of the training images is held out as search-val, always the same ones. Images without objects are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..utils.errors import FileError
from .base import IMAGENET, Data
from .boxes import BoxSplit
from .files import ImageFiles, check_files
from .memory import hold_out

Corners = tuple[float, float, float, float]  # x1, y1, x2, y2


@dataclass(frozen=True, kw_only=True)
class AnnotatedImage:
    """An image file and the objects on it."""

    image: Path
    source: Path  # the file with its annotations, for error messages
    objects: list[tuple[str, Corners]] = field(default_factory=list)  # class name; box as fractions of width and height


def clip_box(source: Path, name: str, box: Corners, size: tuple[float, float], slack: float = 0.0) -> Corners:
    """Clip a box to its image.

    Args:
        source: The file with the annotation, for the error message.
        name: Of the object, for the error message.
        box: In pixels.
        size: Width and height of the image, in pixels.
        slack: How far the box may lie outside of the image, in pixels.

    Raises:
        FileError: The box is empty, or lies further outside.
    """
    left, top, right, bottom = box
    width, height = size
    inside = min(left, top) >= -slack and right <= width + slack and bottom <= height + slack
    x1, y1, x2, y2 = max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height)
    if not (inside and x1 < x2 and y1 < y2):
        pixels = f"({left:g}, {top:g}, {right:g}, {bottom:g})"
        raise FileError(
            f"{source}: the box {pixels} of {name} is empty or outside its image of {width:g}x{height:g}; fix the file"
        )
    return x1, y1, x2, y2


def detection_data(
    path: Path, classes: tuple[str, ...], train: Sequence[AnnotatedImage], test: Sequence[AnnotatedImage]
) -> Data:
    """Return the data set of annotated images; `path` is its folder, for error messages.

    Raises:
        FileError: There are too few images or no classes, or an object's class is not among them.
    """
    if len(train) < 2 or not test:
        raise FileError(
            f"{path} has {len(train)} images to train on and {len(test)} to test on, but needs at least 2 and 1; "
            "add images"
        )
    if not classes:
        raise FileError(f"{path} has no classes: its {len(train)} training images have no objects; annotate some")
    numbers = {name: number for number, name in enumerate(classes)}
    remaining, held_out = hold_out(torch.zeros(len(train), dtype=torch.int64), 0.1, "val")
    return Data(
        task="detect",
        classes=classes,
        normalise=IMAGENET,
        train=_split(numbers, [train[i] for i in remaining.tolist()], flip=True),
        val=_split(numbers, [train[i] for i in held_out.tolist()]),
        test=_split(numbers, test),
    )


def _split(numbers: dict[str, int], images: Sequence[AnnotatedImage], *, flip: bool = False) -> BoxSplit:
    files, objects = [], []
    for image in images:
        files.append(str(image.image))
        objects.append(_numbered_objects(numbers, image))
    return BoxSplit(read=ImageFiles(check_files(files)), objects=objects, flip=flip)


def _numbered_objects(numbers: dict[str, int], image: AnnotatedImage) -> Tensor:
    """Return the objects of an image (M, 5). Raises FileError for an unknown class."""
    rows = []
    for name, (x1, y1, x2, y2) in image.objects:
        if name not in numbers:
            known = ", ".join(list(numbers)[:5])
            problem = f"no class {name!r} is among the {len(numbers)} to train on ({known}, ...)"
            raise FileError(f"{image.source}: {problem}; fix the file")
        rows.append((numbers[name], x1, y1, x2, y2))
    return torch.tensor(rows).reshape(-1, 5)
