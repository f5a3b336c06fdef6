"""Find the images of YOLO data sets by part, and the label file of each."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..utils.errors import FileError, some_names
from ..utils.io import read_text
from .coco_images import locate_images
from .images import image_endings
from .listing import describe_files, ending, entries_of, entry_of, list_files
from .yolo_yaml import ENDINGS, PARTS, DataYaml, numbered, read_data_yaml

IMAGES, LABELS = "images", "labels"
CLASS_LISTS = ("classes.txt", "obj.names")  # of names, as tools for annotation write them beside labels
_EXPECTED = "expected a data.yaml, or a folder with images/ and labels/"
_TRAIN_KEY = re.compile(r"^train\s*:", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class PartFiles:
    """The images of a part.

    Attributes:
        name: What the part is called, such as "valid".
        images: Paths of its images.
        folders: Where they are; none if a list names them.
    """

    name: str
    images: Sequence[str]
    folders: Sequence[Path] = ()


@dataclass(frozen=True, kw_only=True)
class YoloFiles:
    """The images of a data set, and what data.yaml or a list of classes says of the labels.

    Attributes:
        source: data.yaml or the folder, for error messages.
        parts: "train", and "val" and "test" if there are such.
        names: Names of the classes; None if neither they nor their number are known.
        keypoint_values: As in `DataYaml`.
    """

    source: Path
    parts: Mapping[str, PartFiles] = field(default_factory=dict)
    names: Sequence[str] | None = None
    keypoint_values: int = 0


def find_files(path: Path) -> YoloFiles:
    """Find the images of a data set.

    Args:
        path: data.yaml, or a folder with it or with images/ and labels/.

    Raises:
        FileError: There is nothing of this kind, or data.yaml is wrong or names what is missing.
    """
    file = _data_yaml(path)
    if file is None:
        parts = _parts_of_folder(path)
        return YoloFiles(source=path, parts=parts, names=_listed_classes(path))
    document = read_data_yaml(file)
    parts = {}
    for part, entries in document.parts.items():
        files = _stated_part(document, part, entries)
        if files is not None:
            parts[part] = files
    if "train" not in parts:
        raise FileError(f"{file} has no train, which says where the images to train on are; add it")
    return YoloFiles(source=file, parts=parts, names=document.names, keypoint_values=document.keypoint_values)


def is_yolo(path: Path) -> bool:
    """Return whether a path looks like such a data set: data.yaml, or a folder with it or with labels/."""
    try:
        if path.is_file():
            return ending(path.name) in ENDINGS and bool(_TRAIN_KEY.search(read_text(path)))
        if _data_yaml(path) is not None:
            return True
    except FileError:
        return False
    folders = [path, entry_of(path, "train")]
    return any(entry_of(folder, LABELS).is_dir() and entry_of(folder, IMAGES).is_dir() for folder in folders)


def label_files(images: Sequence[str]) -> list[Path | None]:
    """Return the label file of each image; None for images without.

    It is in labels/ for an image in images/, with the same folders below, or else beside the image.
    """
    folders: dict[Path, list[Path]] = {}  # where labels of the images of a folder are
    files = []
    for image in images:
        path = Path(image)
        if path.parent not in folders:
            folders[path.parent] = _label_folders(path.parent)
        existing = None
        for folder in folders[path.parent]:
            file = folder / f"{path.stem}.txt"
            if existing is None and file.is_file():
                existing = file
        files.append(existing)
    return files


def _label_folders(folder: Path) -> list[Path]:
    """Return where the labels of the images in a folder can be, the likeliest first."""
    for images in (folder / "image").parents:  # the folder itself is the first of them
        if images.name.lower() == IMAGES:
            return [entry_of(images.parent, LABELS) / folder.relative_to(images), folder]
    return [folder]


def _data_yaml(path: Path) -> Path | None:
    """Return the file data.yaml that a path names or holds; None if there is none. Raises FileError."""
    if path.is_file():
        if ending(path.name) not in ENDINGS:
            raise FileError(f"{path} is not a YAML file; {_EXPECTED}")
        return path
    if not path.is_dir():
        raise FileError(f"there is no folder {path}; {_EXPECTED}")
    usual = entry_of(path, "data.yaml")
    if usual.is_file():
        return usual
    files = []
    for file in entries_of(path):
        if ending(file.name) in ENDINGS and file.is_file() and _TRAIN_KEY.search(read_text(file)):
            files.append(file)
    if len(files) > 1:
        names = some_names([file.name for file in files])
        raise FileError(f"{path} has several files that say where images are, {names}; pass one of them")
    return files[0] if files else None


def _stated_part(document: DataYaml, part: str, entries: Sequence[str]) -> PartFiles | None:
    """Return the images of a part of data.yaml; None if there is none.

    A part "test" may be missing, as tools state it always, and a part "val" if there is a part "test".

    Raises:
        FileError: Something is missing.
    """
    if not entries:
        return None
    images: list[str] = []
    folders = []
    for entry in entries:
        located = document.locate(entry)
        if located is None:
            if part == "test" or (part == "val" and document.parts["test"]):
                continue
            beside = some_names([other.name for other in entries_of(document.file.parent)], most=6)
            raise FileError(
                f"{document.file}: there is no {entry}, the images of {part}, in {some_names(_shown(document))}; "
                f"{document.file.parent} has {beside}; correct the file"
            )
        if located.is_dir():
            images += list_files(located, image_endings()).files
            folders.append(located)
        else:
            images += _listed_images(document, located)
    if not images and part != "train":
        return None
    if not images:
        described = [describe_files(folder, image_endings()) for folder in folders]
        raise FileError(f"{document.file} has no images to train on: {some_names(described) or 'the list is empty'}")
    return PartFiles(name=part, images=list(dict.fromkeys(images)), folders=folders)


def _shown(document: DataYaml) -> list[str]:
    return list(dict.fromkeys([os.path.normpath(base) for base in document.bases]))


def _listed_images(document: DataYaml, file: Path) -> list[str]:
    """Return the images in a list, a path in each line, relative to the list or to the data set. Raises FileError."""
    if ending(file.name) != ".txt":
        raise FileError(f"{document.file}: {file} is neither a folder nor a list (.txt) of images; correct the file")
    lines = [line.strip() for line in read_text(file).splitlines() if line.strip()]
    if not lines:
        return []
    folders = [file.parent]
    folders += document.bases
    _, paths = locate_images(file, folders, list(dict.fromkeys(lines)))
    return paths


def _parts_of_folder(path: Path) -> dict[str, PartFiles]:
    """Return the parts of a folder without data.yaml; the only one is to train on. Raises FileError."""
    images = entry_of(path, IMAGES)
    parts = {}
    for part, names in PARTS.items():
        for name in names:
            for folder in (entry_of(images, name), entry_of(entry_of(path, name), IMAGES), entry_of(path, name)):
                files = list_files(folder, image_endings()).files
                if files and part not in parts:
                    parts[part] = PartFiles(name=name, images=files, folders=[folder])
    if parts and "train" not in parts:
        others = [files.name for files in parts.values()]
        raise FileError(f"{path} has images in {some_names(others)}, but none in train; {_EXPECTED}")
    if parts:
        return parts
    folder = images if images.is_dir() else path
    files = list_files(folder, image_endings()).files
    if not files:
        raise FileError(f"no images in {folder}: {describe_files(folder, image_endings())}; {_EXPECTED}")
    return {"train": PartFiles(name="all", images=files, folders=[folder])}


def _listed_classes(path: Path) -> list[str] | None:
    """Return the names in a list of classes, a name in each line; None if there is no list. Raises FileError."""
    for folder in (path, entry_of(path, LABELS)):
        for name in CLASS_LISTS:
            file = folder / name
            if file.is_file():
                names = [line.strip() for line in read_text(file).rstrip().splitlines()]
                try:
                    return numbered(names, len(names))
                except ValueError as error:
                    raise FileError(f"{file}: {error}; fix the file") from None
    return None
