"""The lists of images in ImageSets/Main/ of Pascal VOC's folders, as VOC and tools for annotation write them.

A line is the name of an image without its ending. Endings, folders and quotes are accepted, and the 1, 0 or -1 that
VOC's lists of a class have behind the name. Names can have blanks: of what a line can mean, that is taken which exists.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from ..utils.errors import FileError, some_names
from ..utils.io import read_text
from .images import image_endings
from .listing import describe_files, ending, entries_of, list_files, relative_names
from .voc_xml import VocAnnotation, read_annotation

IMAGES, ANNOTATIONS, LISTS = "JPEGImages", "Annotations", "ImageSets/Main"
_XML = frozenset([".xml"])
PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}  # by folder or list
_MOST_CHARACTERS = 60  # of a line that is shown in a message
_FLAG = re.compile(r"\s+(-1|0|1)$")  # behind a name: whether the image has objects of the list's class


class ListedImage(NamedTuple):
    """An image of a list."""

    name: str  # its path in JPEGImages/, without ending
    image: str  # its path
    annotation: VocAnnotation


def listed_images(folder: Path, *lists: str) -> list[ListedImage]:
    """Return the images in the first of several lists that exists; repeated ones once.

    Args:
        folder: A folder with JPEGImages/, Annotations/ and ImageSets/Main/.
        lists: Names of lists, as for `find_list`.

    Raises:
        FileError: There is no such list, an image or annotation in it is missing, or an annotation is corrupt.
    """
    file = _existing_list(folder, lists)
    lines = lines_of(file)
    folder_index = _FolderIndex(folder)
    listed: dict[str, ListedImage] = {}
    without_image, without_annotation = [], []
    for line in lines:
        image, annotation = folder_index.find(line)
        if image is None:
            without_image.append(line)
        elif annotation is None:
            without_annotation.append(line)
        else:
            path = str(folder / IMAGES / image)
            listed[path] = ListedImage(_without_ending(image), path, annotation)
    if without_image:
        images = describe_files(folder / IMAGES, image_endings())
        raise FileError(
            f"{file}: {len(without_image)} of its {len(lines)} images are missing ({_some_lines(without_image)}); "
            f"{images}; add them, or correct the list"
        )
    if without_annotation:
        annotations = describe_files(folder / ANNOTATIONS, _XML)
        raise FileError(
            f"{file}: {len(without_annotation)} of its {len(lines)} images have no annotation "
            f"({_some_lines(without_annotation)}); {annotations}; add them, or correct the list"
        )
    return list(listed.values())


def lines_of(file: Path) -> list[str]:
    """Return the lines of a list, without blank ones. Raises FileError if it cannot be read."""
    return [line.strip() for line in read_text(file).splitlines() if line.strip()]


def find_list(folder: Path, name: str) -> Path | None:
    """Return the path of a list, whose name may be in upper case, and "valid" or "validation" for "val".

    Args:
        folder: A folder with ImageSets/Main/.
        name: Name of the list, without ending, in lower case.
    """
    exact = folder / LISTS / f"{name}.txt"
    if exact.is_file() or not exact.parent.is_dir():
        return exact if exact.is_file() else None
    for file in entries_of(exact.parent):
        stem = file.stem.lower()
        if file.suffix.lower() == ".txt" and PARTS.get(stem, stem) == name and file.is_file():
            return file
    return None


def _existing_list(folder: Path, lists: Sequence[str]) -> Path:
    """Return the path of the first of several lists that exists. Raises FileError if none does."""
    for name in lists:
        file = find_list(folder, name)
        if file is not None:
            return file
    if not folder.is_dir():
        raise FileError(f"there is no folder {folder}; expected VOC's, with JPEGImages/, Annotations/ and ImageSets/")
    where = folder / LISTS if (folder / LISTS).is_dir() else folder
    names = [entry.name for entry in entries_of(where)]
    missing = " or ".join([f"{LISTS}/{name}.txt" for name in lists])
    raise FileError(
        f"{folder} has no {missing}; {where} has {some_names(names, most=6) or 'no files'}; {_remedy(folder)}"
    )


def _remedy(folder: Path) -> str:
    """Return what to do if a list is missing, also with the only list of CVAT's."""
    default = find_list(folder, "default")
    if default is not None:
        return f"move its lines to {LISTS}/train.txt, for the images to train on, and {LISTS}/val.txt, to test on"
    return "write the names of the images into such a list, one in a line"


class _FolderIndex:
    """The images and annotations of a folder, by the names that its lists can have for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._images: dict[str, list[str]] = defaultdict(list)  # by their names with and without ending
        self._annotations: dict[str, Path] = {}  # by their names without ending
        for name in relative_names(list_files(folder / IMAGES, image_endings()).files, folder / IMAGES):
            self._images[_normal(name)].append(name)
            self._images[_normal(_without_ending(name))].append(name)
        for name in relative_names(list_files(folder / ANNOTATIONS, _XML).files, folder / ANNOTATIONS):
            self._annotations[_normal(_without_ending(name))] = folder / ANNOTATIONS / name

    def find(self, line: str) -> tuple[str | None, VocAnnotation | None]:
        """Return the image that a line of a list names, and its annotation; None for what is missing.

        Raises:
            FileError: There are several such images, or the annotation is corrupt.
        """
        for name in _possible_names(line):
            images = self._images.get(name, [])
            source = self._annotations.get(name) or self._annotations.get(_without_ending(name))
            annotation = read_annotation(source) if source else None
            if annotation is not None and not images:
                images = self._images_without_annotation(annotation.filename)
            if images:
                return self._only(images, annotation), annotation
        return None, None

    def _images_without_annotation(self, filename: str) -> list[str]:
        """Return the images that an annotation names, unless they have annotations of their own."""
        for name in _possible_names(filename):
            if name in self._images and _without_ending(name) not in self._annotations:
                return self._images[name]
        return []

    def _only(self, images: Sequence[str], annotation: VocAnnotation | None) -> str:
        """Return the only image, or that which the annotation names. Raises FileError if it names none."""
        if len(images) == 1:
            return images[0]
        filename = annotation.filename if annotation else ""
        for image in images:
            if _normal(Path(image).name) == _normal(filename).split("/")[-1]:
                return image
        raise FileError(
            f"{self.folder / IMAGES} has {len(images)} images of one name ({', '.join(images)}); remove all but one, "
            "or write their endings into the list"
        )


def _possible_names(line: str) -> Iterator[str]:
    """Yield the names of images that a line can mean: with and without flag, folders and ending."""
    for text in (line, _FLAG.sub("", line)):
        parts = _normal(text.strip().strip('"')).split("/")
        for start in range(len(parts)):
            name = "/".join(parts[start:])
            yield name
            if _without_ending(name) != name:
                yield _without_ending(name)


def _without_ending(name: str) -> str:
    """Return a name without the ending of an image or annotation."""
    suffix = ending(name)
    return name[: -len(suffix)] if suffix in image_endings() | _XML else name


def _normal(name: str) -> str:
    """Return a name as it is compared: in one form of Unicode, with "/" between folders."""
    return normalize("NFC", name.replace("\\", "/"))


def _some_lines(lines: Sequence[str]) -> str:
    """Return the first lines of a list, for a message."""
    shown = []
    for line in lines:
        shortened = line if len(line) <= _MOST_CHARACTERS else line[:_MOST_CHARACTERS] + "..."
        shown.append(shortened if shortened.isprintable() else repr(shortened))
    return some_names(shown)
