"""The data set "imagefolder:PATH": a folder of images, sorted into a folder for each class."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..utils.errors import FileError, some_names
from ..utils.paths import utf8_name
from ..utils.text import counted
from .base import Data
from .images import image_endings
from .labelled_files import Sample, labelled_files
from .listing import ending, entries_of, is_hidden, is_image, list_files, other_files
from .paths import require_path


@dataclass
class ClassFolders:
    """A folder train/ or val/, as it was found.

    Attributes:
        path: The folder.
        images: Paths of the images of each class, sorted; empty for a class folder without images.
        loose: Names of the images beside the class folders.
        other: How many files have an ending that is not read, by ending.
        hidden: Number of hidden files and folders, and of those that are made by tools.
    """

    path: Path
    images: dict[str, list[str]] = field(default_factory=dict)
    loose: list[str] = field(default_factory=list)
    other: Counter[str] = field(default_factory=Counter)
    hidden: int = 0

    @property
    def classes(self) -> list[str]:
        """The classes that have images."""
        return [name for name, files in self.images.items() if files]


def image_folder(path: Path | None) -> Data:
    """Load a folder with train/CLASS/IMAGE and val/CLASS/IMAGE files, of any size and format that is read.

    The images in val/ are the test split. Hidden files and folders, those that tools make, and files with other endings
    are left out.

    Raises:
        InputError: `path` is None, or there is no class with two training images.
        FileError: There are fewer than two classes with images to train on, no test images, or test images of a class
            without training images.
    """
    path = require_path("imagefolder", path, "with train/ and val/ in it")
    train, test = read_class_folders(path, "train"), read_class_folders(path, "val")
    classes = train.classes
    _check_classes(train)
    unknown = sorted(set(test.classes) - set(classes))
    if unknown:
        raise FileError(
            f"{path}: val/ has images of {some_names(unknown)}, of which train/ has none (its classes are "
            f"{some_names(classes)}); give both folders the same classes"
        )
    if not test.classes:
        raise FileError(f"no images in {test.path}{_beside(test)}; expected val/CLASS/IMAGE files")
    return labelled_files(
        tuple(map(utf8_name, classes)),
        _samples(train, classes),
        _samples(test, classes),
        left_out=_left_out(path, train, test),
    )


def read_class_folders(path: Path, part: str) -> ClassFolders:
    """List the images of path/part by class, in subfolders of any depth.

    Raises:
        FileError: It does not exist or cannot be read, or the name of a class is not UTF-8.
    """
    root = path / part
    if not os.path.isdir(path):
        raise FileError(
            f"there is no folder {path} with {part}/CLASS/IMAGE files; if it was moved, pass its new path with --data "
            "imagefolder:PATH, or move it back"
        )
    if not os.path.isdir(root):
        names = []
        for entry in entries_of(path):
            names.append(f"{entry.name}/" if os.path.isdir(entry) else entry.name)
        instead = f", but {some_names(names)}" if names else ""
        raise FileError(f"no images in {path}: there is no folder {part}/{instead}; expected {part}/CLASS/IMAGE files")
    folders = ClassFolders(root)
    for entry in entries_of(root, hidden=True):
        if is_hidden(entry.name):
            folders.hidden += 1
        elif os.path.isdir(entry):
            _check_name(entry)
            listing = list_files(entry, image_endings())
            folders.images[entry.name] = listing.files
            folders.other += listing.other
            folders.hidden += listing.hidden
        elif is_image(entry.name):
            folders.loose.append(entry.name)
        else:
            folders.other[ending(entry.name)] += 1
    return folders


def _check_name(folder: Path) -> None:
    """Raise FileError unless a class folder's name is UTF-8, as the files that will hold it are."""
    try:
        utf8_name(folder.name).encode()
    except UnicodeEncodeError:
        raise FileError(f"the name of the class folder {folder} is not UTF-8; rename it") from None


def _check_classes(train: ClassFolders) -> None:
    """Raise FileError unless there are two classes."""
    classes = train.classes
    if len(classes) >= 2:
        return
    if not classes:
        raise FileError(f"no images in {train.path}{_beside(train)}; expected train/CLASS/IMAGE files")
    (name,) = classes
    below = [entry.name for entry in entries_of(train.path / name) if os.path.isdir(entry)]
    hint = "add images of another"
    if below:
        hint = f"if the classes are its subfolders ({some_names(below)}), move these to {train.path}"
    raise FileError(f"{train.path} has images of one class only, {name}; {hint}")


def _beside(folders: ClassFolders) -> str:
    """Return what a folder without images has instead."""
    parts = []
    if folders.loose:
        parts.append(_describe_loose(folders))
    if folders.images:
        parts.append(f"empty class folders {some_names(list(folders.images))}")
    if folders.other:
        parts.append(other_files(folders.other))
    return f", which has {' and '.join(parts)}" if parts else ", which is empty"


def _describe_loose(folders: ClassFolders) -> str:
    """Describe the images beside the class folders: how many, and the first names."""
    return f"{counted(len(folders.loose), 'image')} in no class folder ({some_names(folders.loose)})"


def _samples(folders: ClassFolders, classes: Sequence[str]) -> list[Sample]:
    """Return the path and label of all images."""
    samples = []
    for label, name in enumerate(classes):
        for file in folders.images.get(name, []):
            samples.append((file, label))
    return samples


def _left_out(path: Path, *parts: ClassFolders) -> tuple[str, ...]:
    """Return what was left out of the folders, a line each."""
    lines = []
    for part in parts:
        name = part.path.name
        empty = sorted(set(part.images) - set(part.classes))
        if part.other:
            lines.append(f"{name}/: {other_files(part.other)}")
        if part.loose:
            lines.append(f"{name}/: {_describe_loose(part)}")
        if part.hidden:
            lines.append(f"{name}/: hidden or tool-made files and folders: {part.hidden}")
        if empty:
            lines.append(f"{name}/: class folders without images: {some_names(empty)}")
    used = {part.path.name for part in parts}
    beside = [entry.name for entry in entries_of(path) if entry.name not in used and os.path.isdir(entry)]
    if beside:
        lines.append(f"folders beside train/ and val/: {some_names(beside)}")
    return tuple(lines)
