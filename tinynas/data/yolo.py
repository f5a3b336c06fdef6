"""Detection data in the format of YOLO, as ultralytics reads it: a text file with the objects of each image."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..utils.errors import FileError, some_names
from ..utils.text import counted
from .annotated import AnnotatedPart, detection_data
from .annotated_split import hold_out_test
from .base import Data
from .listing import ending, entries_of
from .paths import require_path
from .pixel_boxes import AnnotatedImage, AnnotatedObject, Corners
from .yolo_files import CLASS_LISTS, LABELS, PartFiles, YoloFiles, find_files, label_files
from .yolo_labels import read_labels


def yolo(path: Path | None) -> Data:
    """Load the data set of a data.yaml, or of a folder with images/ and labels/.

    data.yaml says where the images of the parts train, val and test are: a folder, a list of folders, or a text file
    with paths. A folder without it has images/train/ and labels/train/, train/images/ and train/labels/, or images/ and
    labels/ without parts; "valid" and "validation" are val. The part test is the test split, or else val, or else a
    fifth of the images, always the same ones. An image without a label file has no objects.

    The classes are those that have objects to train on, in the order of their numbers. One without a name is called by
    its number.

    Raises:
        InputError: `path` is None.
        FileError: A file is missing or wrong, or there are too few images.
    """
    path = require_path("yolo", path, "the folder with the images and their labels, or its data.yaml")
    files = find_files(path)
    chosen = _choose_parts(files)
    notes = list(chosen.notes)
    train = _annotated(files, chosen.train, notes)
    if chosen.test is not None:
        test = _annotated(files, chosen.test, notes)
    else:
        train, test, note = hold_out_test(path, train)
        notes.append(note)
    return detection_data(path, train, test, chosen.unused + _unused_labels(files), notes)


class _Chosen(NamedTuple):
    """The images to train on and to test on; None for the latter if they are to be held out of the former."""

    train: PartFiles
    test: PartFiles | None
    unused: list[str]  # which parts are not used, a line each
    notes: list[str]


def _choose_parts(files: YoloFiles) -> _Chosen:
    """Choose the part to test on, and leave its images out of those to train on."""
    train, val, test = [files.parts.get(part) for part in ("train", "val", "test")]
    assert train is not None
    unused = []
    if test and val:
        reason = ""
        if not any(label_files(test.images)):
            test, val, reason = val, test, " without label files"
        unused.append(f"{val.name}: {counted(len(val.images), 'image')}{reason}; {test.name} is the test split")
    test = test or val
    if test is None:
        return _Chosen(train, None, unused, [])
    in_test = set(test.images)
    remaining = [image for image in train.images if image not in in_test]
    if not remaining:
        return _Chosen(train, None, unused, [f"all images of {train.name} are in {test.name} as well"])
    num_in_both = len(train.images) - len(remaining)
    if num_in_both:
        unused.append(f"images in both {train.name} and {test.name}, which are used for testing only: {num_in_both}")
    return _Chosen(replace(train, images=remaining), test, unused, [])


def _annotated(files: YoloFiles, part: PartFiles, notes: list[str]) -> AnnotatedPart:
    """Read the labels of a part, and note how many images have none. Raises FileError."""
    labels = label_files(part.images)
    missing = [image for image, label in zip(part.images, labels, strict=True) if label is None]
    shown = some_names([Path(image).name for image in missing])
    if len(missing) == len(part.images):
        raise FileError(
            f"{files.source}: none of the {len(missing)} images of {part.name} has a label file ({shown}); the labels "
            "of images/NAME.jpg are expected in labels/NAME.txt, or beside the image"
        )
    if missing:
        count = f"{len(missing)} of {len(part.images)} ({shown})"
        notes.append(f"images of {part.name} without a label file, taken as images without objects: {count}")
    images = []
    numbers: set[int] = set()
    for image, label in zip(part.images, labels, strict=True):
        objects = []
        for number, box in _objects(files, label):
            numbers.add(number)
            objects.append(AnnotatedObject(_class_name(files, number), box))
        images.append(AnnotatedImage(image, label or files.source, None, objects, in_fractions=True))
    names = files.names or [str(number) for number in sorted(numbers)]
    return AnnotatedPart(images=images, categories=names, dropped=Counter(), folders=part.folders)


def _objects(files: YoloFiles, label: Path | None) -> list[tuple[int, Corners]]:
    """Return the number of the class and the box of the objects in a label file, if there is one. Raises FileError."""
    if label is None:
        return []
    classes = len(files.names) if files.names is not None else None
    return read_labels(label, classes=classes, keypoint_values=files.keypoint_values)


def _class_name(files: YoloFiles, number: int) -> str:
    return files.names[number] if files.names is not None else str(number)


def _unused_labels(files: YoloFiles) -> list[str]:
    """Say which files in folders called labels are of images in no part, a line for each folder."""
    used: set[Path] = set()
    for part in files.parts.values():
        used.update(label for label in label_files(part.images) if label is not None)
    lines = []
    for folder in sorted({label.parent for label in used}):
        if LABELS not in [name.lower() for name in folder.parts]:
            continue
        names = []
        for entry in entries_of(folder):
            if ending(entry.name) == ".txt" and entry not in used and entry.name not in CLASS_LISTS:
                names.append(entry.name)
        if names:
            lines.append(f"label files in {folder} of images in no part: {len(names)} ({some_names(names)})")
    return lines
