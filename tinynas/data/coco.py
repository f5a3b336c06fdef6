"""Detection data in the format of COCO (Lin et al., 2014): one JSON file of annotations for each part."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from ..utils.errors import FileError
from ..utils.io import read_json
from .annotated import AnnotatedImage, Corners, clip_box, detection_data
from .base import Data
from .paths import require_path

_ROUNDING = 1.0  # pixels by which a box may lie outside its image, as some of COCO's own do


def coco(path: Path | None) -> Data:
    """Load annotations/instances_train*.json and instances_val*.json in `path`, and their images.

    Other file names with "train" and "val" in them are accepted if there are none of these. Images are in the folder
    named like the rest of the file name after `instances_`, in images/, or in `path` itself. The part val is the test
    split. Classes are in the order of their ids. Annotations of crowds are dropped, and boxes without area, of which
    COCO has two.

    Raises:
        InputError: `path` is None.
        FileError: A file is missing or corrupt, or there are too few images.
    """
    path = require_path("coco", path, "the folder with the images and their annotations")
    train_file, test_file = _annotation_file(path, "train"), _annotation_file(path, "val")
    train = _Annotations(train_file)
    train_images = train.images(path)
    return detection_data(path, tuple(train.names.values()), train_images, _Annotations(test_file).images(path))


def _annotation_file(path: Path, part: str) -> Path:
    """Return the only annotation file of a part. Raises FileError if there is none, or several."""
    folder = path / "annotations"
    if not folder.is_dir():
        raise FileError(f"there is no folder {folder}; expected COCO's, with instances_train*.json in it")
    files = sorted(folder.glob(f"instances_*{part}*.json")) or sorted(folder.glob(f"*{part}*.json"))
    if len(files) != 1:
        names = ", ".join(file.name for file in files) or "none"
        raise FileError(f"{folder} must have one instances_{part}*.json, but has {names}; leave one there")
    return files[0]


class _Annotations:
    """An annotation file, checked as it is read."""

    def __init__(self, source: Path) -> None:
        self.source = source
        document = read_json(source)
        self.names: dict[int, str] = {}  # class names by category id, in the order of the ids
        self._by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
        try:
            categories, self._images = document["categories"], document["images"]
            for category in sorted(categories, key=_id):
                self.names[category["id"]] = str(category["name"])
            for annotation in document["annotations"]:
                self._by_image[annotation["image_id"]].append(annotation)
            unknown = set(self._by_image) - set(map(_id, self._images))
        except (KeyError, TypeError) as error:
            raise self._not_coco(error) from None
        if unknown:
            first = min(map(str, unknown))
            raise FileError(f"{source} has annotations of image {first}, which is not among its images; fix the file")

    def images(self, path: Path) -> list[AnnotatedImage]:
        """Return all images and the objects on them. Raises FileError."""
        images = []
        try:
            folder = self._image_folder(path)
            for record in self._images:
                image = AnnotatedImage(
                    image=folder / record["file_name"], source=self.source, objects=self._objects(record)
                )
                images.append(image)
        except (KeyError, TypeError, ValueError) as error:
            raise self._not_coco(error) from None
        return images

    def _image_folder(self, path: Path) -> Path:
        """Return the folder that has the first image."""
        folders = [path / self.source.stem.removeprefix("instances_"), path / "images", path]
        first = self._images[0]["file_name"] if self._images else ""
        for folder in folders:
            if (folder / first).exists():
                return folder
        raise FileError(f"{self.source} has {first}, which is in none of {', '.join(map(str, folders))}; put it there")

    def _objects(self, image: dict[str, Any]) -> list[tuple[str, Corners]]:
        """Return class name and box (as fractions) of the objects on an image."""
        objects = []
        for annotation in self._by_image[image["id"]]:
            x, y, box_width, box_height = map(float, annotation["bbox"])
            if annotation.get("iscrowd", 0) or box_width == 0 or box_height == 0:
                continue
            category = annotation["category_id"]
            if category not in self.names:
                raise FileError(f"{self.source}: category {category!r} is not among its categories; fix the file")
            name = self.names[category]
            width, height = float(image["width"]), float(image["height"])
            box = (x, y, x + box_width, y + box_height)
            described = f"{name} on {image['file_name']}"
            x1, y1, x2, y2 = clip_box(self.source, described, box, (width, height), _ROUNDING)
            objects.append((name, (x1 / width, y1 / height, x2 / width, y2 / height)))
        return objects

    def _not_coco(self, error: Exception) -> FileError:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        return FileError(f"{self.source} is not a file of COCO's annotations: {reason}; fix the file")


def _id(record: dict[str, Any]) -> int:
    number: int = record["id"]
    return number
