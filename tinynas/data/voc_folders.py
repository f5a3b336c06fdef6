"""Folders of images with XML annotations of Pascal VOC's, without lists of the images of each part.

An annotation belongs to the image of its name in the same folder, or in one that differs only by names such as images/
and annotations/. A folder called train, val, valid, validation or test is a part.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from ..utils.errors import FileError, some_names
from ..utils.text import counted
from .images import image_endings
from .listing import describe_files, entries_of, list_files
from .voc_lists import PARTS, ListedImage
from .voc_xml import VocAnnotation, read_annotation

_XML = frozenset([".xml"])
_CONTAINERS = {"images", "image", "jpegimages", "imgs", "img", "annotations", "annotation", "xmls", "xml", "labels"}


class _Key(NamedTuple):
    """What an image and its annotation have in common."""

    folders: tuple[str, ...]  # that tell a file from others of its name
    name: str  # without ending


class VocFolders(NamedTuple):
    """The annotated images of a folder without lists.

    Attributes:
        train: The images to train on.
        test: Those to test on; None if there is no such part.
        folders: Where images are.
        unused: Which annotated images are in neither, a line each.
    """

    train: list[ListedImage]
    test: list[ListedImage] | None
    folders: list[Path]
    unused: list[str]


def find_annotated(path: Path) -> VocFolders | None:
    """Find the images that have an annotation; None in a folder with VOC's lists, or without annotations.

    Raises:
        FileError: An annotation has no image or several ones, or is corrupt.
    """
    if not path.is_dir() or _has_lists(path):
        return None
    sources = list_files(path, _XML).files
    if not sources:
        return None
    parts: dict[str, list[ListedImage]] = defaultdict(list)
    for name, listed in _annotated(path, [Path(source) for source in sources]):
        parts[name].append(listed)
    outside = parts.pop("", None)
    train = parts.pop("train", None)
    unused = []
    if train and outside:
        unused.append(f"annotated images outside of train/, val/ and test/: {len(outside)}")
    test, val = parts.get("test"), parts.get("val")
    if test and val:
        unused.append(f"val: {counted(len(val), 'image')}; test is the test split")
    used = (train or outside or []) + (test or val or [])
    folders = sorted({Path(listed.image).parent for listed in used})
    return VocFolders(train or outside or [], test or val, folders, unused)


def _has_lists(path: Path) -> bool:
    """Return whether a folder has VOCdevkit/, or it or one in it has ImageSets/."""
    if (path / "VOCdevkit").is_dir():
        return True
    folders = [path]
    folders += entries_of(path)
    for folder in folders:
        if folder.is_dir() and any(entry.name.lower() == "imagesets" for entry in entries_of(folder)):
            return True
    return False


def _annotated(path: Path, sources: Sequence[Path]) -> list[tuple[str, ListedImage]]:
    """Return the part, or "", and the image of every annotation. Raises FileError."""
    images: dict[_Key, list[Path]] = defaultdict(list)
    for file in list_files(path, image_endings()).files:
        images[_key(path, Path(file))].append(Path(file))
    annotated: dict[str, tuple[str, ListedImage]] = {}
    missing = []
    for source in sources:
        annotation = read_annotation(source)
        image = _image_of(_key(path, source), annotation, images)
        if image is None:
            missing.append(source.relative_to(path).as_posix())
            continue
        if str(image) in annotated:
            other = annotated[str(image)][1].annotation.source
            raise FileError(f"{other} and {source} are annotations of the same image, {image}; remove one of them")
        annotated[str(image)] = (_part(path, source), ListedImage(image.stem, str(image), annotation))
    if missing:
        raise FileError(
            f"{path}: the images of {len(missing)} of {len(sources)} annotations are missing ({some_names(missing)}); "
            f"{describe_files(path, image_endings())}; add them, or remove the annotations"
        )
    return list(annotated.values())


def _image_of(key: _Key, annotation: VocAnnotation, images: dict[_Key, list[Path]]) -> Path | None:
    """Return the image of an annotation: of its own name, or of the name it states; None if there is none.

    Raises:
        FileError: There are several, and the annotation does not say which it is.
    """
    stated = annotation.filename.replace("\\", "/").split("/")[-1]
    candidates = images.get(key) or images.get(key._replace(name=_normal(Path(stated).stem)), [])
    named = [image for image in candidates if _normal(image.name) == _normal(stated)]
    if len(candidates) > 1 and len(named) != 1:
        names = some_names([str(image) for image in candidates])
        raise FileError(
            f"{annotation.source} is the annotation of {len(candidates)} images ({names}); remove all but one, or "
            "state its name as <filename>"
        )
    if named:
        return named[0]
    return candidates[0] if candidates else None


def _key(root: Path, file: Path) -> _Key:
    """Return the folders and the name of a file, as those of an image and its annotation are compared."""
    folders = [_normal(name).lower() for name in file.relative_to(root).parts[:-1]]
    return _Key(tuple([name for name in folders if name not in _CONTAINERS]), _normal(file.stem))


def _part(root: Path, file: Path) -> str:
    """Return the part that a file is in by the name of a folder; "" if it is in none."""
    for name in file.relative_to(root).parts[:-1]:
        if name.lower() in PARTS:
            return PARTS[name.lower()]
    return ""


def _normal(name: str) -> str:
    return normalize("NFC", name)
