"""Detection data in the format of COCO (Lin et al., 2014): one JSON file of annotations for each part."""

from pathlib import Path

from ..utils.errors import FileError, some_names
from .annotated import AnnotatedPart, detection_data
from .base import Data
from .coco_images import locate_images
from .coco_json import read_coco
from .listing import is_hidden
from .paths import require_path
from .pixel_boxes import AnnotatedImage


def coco(path: Path | None) -> Data:
    """Load annotations/instances_train*.json and instances_val*.json in `path`, and their images.

    Other file names with "train" and "val" in them are accepted if there are none of these, also in folders with these
    names, as train/_annotations.coco.json and valid/_annotations.coco.json. Images are in the folder named like the
    rest of the file name after `instances_`, in train/ or val/, in images/ or in such a folder there, beside the
    annotations, or in `path` itself. The part val is the test split.

    The classes are the categories that have objects to train on, in the order of their ids. Annotations of crowds are
    left out, and boxes without area, of which COCO has two. A width or height that is missing or 0 is taken from the
    image.

    Raises:
        InputError: `path` is None.
        FileError: A file is missing or corrupt, contradicts its image, or there are too few images.
    """
    path = require_path("coco", path, "the folder with the images and their annotations")
    return detection_data(path, _part(path, "train"), _part(path, "val"))


def _part(path: Path, part: str) -> AnnotatedPart:
    """Read the annotations of a part. Raises FileError."""
    source = _annotation_file(path, part)
    annotations = read_coco(source)
    name = source.stem.removeprefix("instances_")
    folders = [path / name, path / part, path / "images" / name, path / "images" / part, path / "images"]
    folder, files = locate_images(source, [*folders, source.parent, path], annotations.file_names)
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
    for pattern in (f"annotations/instances_*{part}*.json", f"annotations/*{part}*.json", f"*{part}*/*.json"):
        files = sorted(file for file in path.glob(pattern) if file.is_file() and not is_hidden(file.name))
        if len(files) == 1:
            return files[0]
        if files:
            names = some_names([str(file.relative_to(path)) for file in files])
            raise FileError(f"{path} must have one {pattern}, but has {names}; leave one there")
    folder = path / "annotations" if (path / "annotations").is_dir() else path
    names = some_names(sorted(entry.name for entry in folder.iterdir() if not is_hidden(entry.name)), most=6)
    raise FileError(
        f"{path} has no annotations/instances_{part}*.json; {folder} has {names or 'no files'}; put it there"
    )
