"""Detection data in the format of COCO (Lin et al., 2014): one JSON file of annotations for each part."""

from fnmatch import fnmatchcase
from pathlib import Path

from ..utils.errors import FileError, some_names
from ..utils.text import counted
from .annotated import AnnotatedPart, detection_data
from .base import Data
from .coco_images import locate_images
from .coco_json import read_coco
from .listing import entries_of, entry_of
from .paths import require_path
from .pixel_boxes import AnnotatedImage

_PATTERNS = ("annotations/instances_*{part}*.json", "annotations/*{part}*.json", "*{part}*/*.json")  # in lower case
_FOLDERS = {"train": ("train",), "val": ("val", "valid", "validation")}  # of the images of a part


def coco(path: Path | None) -> Data:
    """Load annotations/instances_train*.json and instances_val*.json in `path`, and their images.

    Other file names with "train" and "val" in them are accepted if there are none of these, also in folders with these
    names, as train/_annotations.coco.json and valid/_annotations.coco.json. Images are in the folder named like the
    rest of the file name after `instances_`, in train/ or val/, in images/ or in such a folder there, beside the
    annotations, or in `path` itself. Names may be in upper case. The part val is the test split; a part test is not
    used.

    The classes are the categories that have objects to train on, in the order of their ids. Annotations of crowds are
    left out of the images to train on, and boxes without area, of which COCO has two, of all images. A width or height
    that is missing or 0 is taken from the image.

    Raises:
        InputError: `path` is None.
        FileError: A file is missing or corrupt, contradicts its image, or there are too few images.
    """
    path = require_path("coco", path, "the folder with the images and their annotations")
    train, test = _annotation_file(path, "train"), _annotation_file(path, "val")
    return detection_data(path, _part(path, train, "train"), _part(path, test, "val"), _unused(path, train, test))


def _part(path: Path, source: Path, part: str) -> AnnotatedPart:
    """Read the annotations of a part. Raises FileError."""
    annotations = read_coco(source)
    image_folder = entry_of(path, "images")
    folders = []
    for parent in (path, image_folder):
        for name in (source.stem.removeprefix("instances_"), *_FOLDERS[part]):
            folders.append(entry_of(parent, name))
    folder, files = locate_images(source, [*folders, image_folder, source.parent, path], annotations.file_names)
    images = []
    for file, size, objects in zip(files, annotations.sizes, annotations.objects, strict=True):
        images.append(AnnotatedImage(file, source, size, objects))
    return AnnotatedPart(
        images=images, categories=annotations.categories, dropped=annotations.dropped, folders=[folder]
    )


def _annotation_file(path: Path, part: str) -> Path:
    """Return the only annotation file of a part. Raises FileError if there is none, or several."""
    if not path.is_dir():
        raise FileError(f"there is no folder {path}; expected COCO's, with annotations/instances_{part}*.json in it")
    for template in _PATTERNS:
        pattern = template.format(part=part)
        files = _matching(path, pattern)
        if len(files) == 1:
            return files[0]
        if files:
            names = some_names([str(file.relative_to(path)) for file in files])
            raise FileError(f"{path} must have one {pattern}, but has {names}; leave one there")
    folder = entry_of(path, "annotations")
    entries = entries_of(folder if folder.is_dir() else path)
    names = some_names([entry.name for entry in entries], most=6)
    raise FileError(
        f"{path} has no annotations/instances_{part}*.json; {folder if folder.is_dir() else path} has "
        f"{names or 'no files'}; {_remedy(path, part)}"
    )


def _matching(path: Path, pattern: str) -> list[Path]:
    """Return the files in folders of `path` that match a pattern "FOLDER/FILE" in lower case, sorted."""
    folder_pattern, file_pattern = pattern.split("/")
    files = []
    for folder in entries_of(path):
        if folder.is_dir() and fnmatchcase(folder.name.lower(), folder_pattern):
            for file in entries_of(folder):
                if file.is_file() and fnmatchcase(file.name.lower(), file_pattern):
                    files.append(file)
    return files


def _remedy(path: Path, part: str) -> str:
    """Return what to do if a part has no annotation file."""
    for source in _matching(path, "*test*/*.json"):
        if part == "val":
            return f"rename {_shown(source)} to valid/ to test on it"
    defaults = _matching(path, "annotations/*default*.json")  # as CVAT calls images that were put into no part
    if not defaults:
        return "put it there"
    remedy = f"rename {defaults[0].relative_to(path)} to annotations/instances_{part}.json"
    if part == "train" and not _matching(path, "annotations/*val*.json"):
        remedy += ", and add annotations/instances_val.json, of the images to test on"
    return remedy


def _unused(path: Path, train: Path, test: Path) -> list[str]:
    """Say which parts called test are not used, a line each."""
    lines = []
    for pattern in ("annotations/instances_*test*.json", "*test*/*.json"):
        for source in _matching(path, pattern):
            if source not in (train, test):
                lines.append(f"{_shown(source)}: {_num_annotated(source)}; {_shown(test)} is the test split")
    return lines


def _shown(source: Path) -> str:
    """Return what a part is called in messages: its folder, or its file in annotations/."""
    folder = source.parent.name
    return f"{folder}/{source.name}" if folder.lower() == "annotations" else f"{folder}/"


def _num_annotated(source: Path) -> str:
    """Return how many images an annotation file has that is not used, and so may be corrupt."""
    try:
        return counted(len(read_coco(source).file_names), "annotated image")
    except FileError:
        return "annotations that cannot be read"
