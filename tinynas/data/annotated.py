"""Image files with annotated objects, whatever the format of the annotations; the formats are in voc.py and coco.py.

A tenth of the training images is held out as search-val, always the same ones. Images without objects are kept.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from reprlib import repr as short_repr

import torch

from ..utils.errors import FileError, some_names
from ..utils.text import counted
from .base import IMAGENET, Data
from .boxes import BoxSplit
from .files import ImageFile, ImageFiles, check_files
from .images import image_endings
from .listing import list_files, relative_names
from .memory import hold_out
from .objects import COLUMNS, CROWD, DIFFICULT, OBJECT, only_trained_on
from .pixel_boxes import (
    CLIPPED,
    WITHOUT_AREA,
    AnnotatedImage,
    AnnotatedObject,
    BoxProblem,
    boxes_as_fractions,
    check_sizes,
)

_NOT_TRAINED_ON = {DIFFICULT: "difficult objects, not trained on", CROWD: "annotations of crowds, not trained on"}


@dataclass(frozen=True, kw_only=True)
class AnnotatedPart:
    """The part of a data set to train on, or the part to test on.

    Attributes:
        images: The images and their objects.
        categories: Names of the classes that there can be, in their order.
        dropped: How many annotations are left out, by their kind.
        folders: Where the images are.
    """

    images: Sequence[AnnotatedImage]
    categories: Sequence[str]
    dropped: Counter[str]
    folders: Sequence[Path]


@dataclass(frozen=True, kw_only=True)
class _CheckedImage:
    """An image that was checked, and its objects, their boxes as fractions."""

    file: ImageFile
    source: Path
    objects: list[AnnotatedObject]
    problems: list[BoxProblem]  # of boxes that were clipped or left out


def check_name(value: object) -> str:
    """Return the name of a class or file. Raises ValueError if it is not text, is blank or has control characters."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"the name {short_repr(value)} is not text")
    for character in value:
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise ValueError(f"the name {short_repr(value)} has control characters")
    return value


def detection_data(
    path: Path, train: AnnotatedPart, test: AnnotatedPart, unused: Sequence[str] = (), notes: Sequence[str] = ()
) -> Data:
    """Return the data set of annotated images.

    The classes are the categories of the training part that have objects there. An image that cannot be read has no
    objects. Crowds and difficult objects are left out of the training split, and kept in the others.

    Args:
        path: The folder of the data set, for error messages.
        train: The images to train on, and for search-val.
        test: The images of the test split.
        unused: Which images with annotations are in neither part, or in one of two that have them, a line each.
        notes: As in `Data`.

    Raises:
        FileError: There are too few images or no objects, a size contradicts its image, or a class of the test images
            has no objects to train on.
    """
    if len(train.images) < 2 or not test.images:
        raise FileError(
            f"{path} has {counted(len(train.images), 'image')} to train on and {len(test.images)} to test on, but "
            "needs at least 2 and 1; add images"
        )
    checked = _check_images(list(train.images) + list(test.images))
    train_images, test_images = checked[: len(train.images)], checked[len(train.images) :]
    with_objects = _class_names(train_images)
    classes = [name for name in train.categories if name in with_objects]
    _check_objects(path, train, train_images)
    _check_classes(classes, train_images, test_images)
    remaining, held_out = hold_out(torch.zeros(len(train_images), dtype=torch.int64), 0.1, "val")
    train_split = _split(classes, train_images)
    all_objects = train_split.subset(remaining.tolist())
    objects = [only_trained_on(of_image) for of_image in all_objects.objects]
    ignored = _not_trained_on([train_images[index] for index in remaining.tolist()])
    return Data(
        task="detect",
        classes=tuple(classes),
        normalise=IMAGENET,
        train=replace(all_objects, objects=objects, flip=True),
        val=train_split.subset(held_out.tolist()),
        test=_split(classes, test_images),
        left_out=tuple(unused) + _left_out(train, test, checked, classes, ignored),
        notes=tuple(list(notes) + _problem_lines(checked, clipped=True)),
    )


def _check_images(images: Sequence[AnnotatedImage]) -> list[_CheckedImage]:
    """Read all images and compare the annotations with them. Raises FileError."""
    files = check_files([annotated.image for annotated in images])
    check_sizes(images, [file.facts for file in files])
    checked = []
    for annotated, file in zip(images, files, strict=True):
        objects: list[AnnotatedObject] = []
        problems: list[BoxProblem] = []
        if file.facts is not None:
            objects, problems = boxes_as_fractions(annotated, file.facts)
        checked.append(_CheckedImage(file=file, source=annotated.source, objects=objects, problems=problems))
    return checked


def _class_names(images: Sequence[_CheckedImage]) -> set[str]:
    """Return the classes of the objects on images, but of those of crowds and difficult objects only."""
    names: set[str] = set()
    for image in images:
        for annotated in image.objects:
            if annotated.kind == OBJECT:
                names.add(annotated.name)
    return names


def _not_trained_on(images: Sequence[_CheckedImage]) -> Counter[str]:
    """Return how many crowds and difficult objects are on images."""
    counts: Counter[str] = Counter()
    for image in images:
        for annotated in image.objects:
            if annotated.kind != OBJECT:
                counts[_NOT_TRAINED_ON[annotated.kind]] += 1
    return counts


def _check_objects(path: Path, train: AnnotatedPart, checked: Sequence[_CheckedImage]) -> None:
    """Raise FileError if there are no objects to train on."""
    if _class_names(checked):
        return
    dropped = _counts_by_kind(train.dropped + _not_trained_on(checked)) + _problem_lines(checked, clipped=False)
    remedy = f" but those that are left out ({', '.join(dropped)}); annotate others" if dropped else "; annotate some"
    raise FileError(
        f"{path} has no classes: its {len(checked)} training images{_unreadable(checked)} have no objects{remedy}"
    )


def _counts_by_kind(counts: Counter[str]) -> list[str]:
    return [f"{kind}: {count}" for kind, count in counts.items() if count]


def _problem_lines(images: Sequence[_CheckedImage], *, clipped: bool) -> list[str]:
    """Return how many boxes were clipped, or how many were left out and why, a line for each kind of problem."""
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for image in images:
        for problem in image.problems:
            if (problem.kind == CLIPPED) == clipped:
                counts[problem.kind] += 1
                first.setdefault(problem.kind, problem.box)
    lines = []
    for kind, count in counts.items():
        example = "" if kind == WITHOUT_AREA else f" (first: {first[kind]})"
        lines.append(f"{kind}: {count}{example}")
    return lines


def _unreadable(images: Sequence[_CheckedImage]) -> str:
    """Return which images cannot be read, for a message; "" if all can."""
    problems = []
    for image in images:
        if image.file.problem is not None:
            problems.append(f"{image.file.path} ({image.file.problem})")
    return f" that can be read ({len(problems)} cannot: {some_names(problems)})" if problems else ""


def _check_classes(classes: Sequence[str], train: Sequence[_CheckedImage], test: Sequence[_CheckedImage]) -> None:
    """Raise FileError if test images have objects of other classes."""
    for image in test:
        unknown = sorted(_class_names([image]) - set(classes))
        if unknown:
            raise FileError(
                f"{image.source} has objects of {some_names(unknown)}, of which the training "
                f"images{_unreadable(train)} have none (their classes are {some_names(classes, most=10)}); give both "
                "parts the same classes"
            )


def _split(classes: Sequence[str], images: Sequence[_CheckedImage]) -> BoxSplit:
    numbers = dict(zip(classes, range(len(classes)), strict=True))
    files, objects = [], []
    for image in images:
        files.append(image.file)
        rows = []
        for name, (x1, y1, x2, y2), area, kind in image.objects:
            if name in numbers:  # crowds and difficult objects may be of classes without other objects
                rows.append((numbers[name], x1, y1, x2, y2, area, kind))
        objects.append(torch.tensor(rows).reshape(-1, COLUMNS))
    return BoxSplit(read=ImageFiles(files), objects=objects)


def _left_out(
    train: AnnotatedPart,
    test: AnnotatedPart,
    checked: Sequence[_CheckedImage],
    classes: Sequence[str],
    not_trained_on: Counter[str],
) -> tuple[str, ...]:
    """Return what was left out, a line each."""
    counts = not_trained_on + train.dropped + test.dropped
    lines = _counts_by_kind(counts) + _problem_lines(checked, clipped=False)
    used = {image.file.path for image in checked}
    others = [name for name in train.categories if name not in classes]
    if others:
        lines.append(f"categories without objects: {some_names(others, most=10)}")
    for folder in dict.fromkeys(list(train.folders) + list(test.folders)):
        unused = [file for file in list_files(folder, image_endings()).files if file not in used]
        if unused:
            names = some_names(relative_names(unused, folder))
            lines.append(
                f"images in {folder} that are in no split, not listed or not annotated: {len(unused)} ({names})"
            )
    return tuple(lines)
