"""Photographs with boxes drawn by people, in the folders that Pascal VOC (Everingham et al., 2010) and COCO (Lin et
al., 2014) come in.

A tenth of the training images is search-val, always the same ones. An image without objects is kept.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch
from torch import Tensor

from ..utils.errors import FileError
from ..utils.io import read, read_json, read_text
from .base import IMAGENET, Data
from .boxes import BoxSplit
from .loading import ImageFiles
from .memory import hold_out

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


_YEARS = ("VOC2007", "VOC2012")
_ROUNDING = 1.0  # pixels that a box of COCO's may lie outside its image, which some of its own do
Corners = tuple[float, float, float, float]  # x1, y1, x2, y2


@dataclass(frozen=True, kw_only=True)
class Annotated:
    """An image file, and the objects on it."""

    image: Path
    source: Path  # the file with its annotations
    objects: list[tuple[str, Corners]] = field(default_factory=list)  # class; box in 0..1 of the image's sides


def voc(path: Path) -> Data:
    """VOCdevkit in `path`, or one folder of its kind: JPEGImages/, Annotations/ and ImageSets/Main/. Raises FileError.

    Of VOCdevkit, the trainval images of the years that are there (2007, 2012) are for training, and those of 2007's
    test for testing. Of one folder, trainval or train is for training, and test or val, which is left out of the
    former, for testing. Objects marked difficult are left out of both.
    """
    folders = [path / "VOCdevkit" / year for year in _YEARS if (path / "VOCdevkit" / year).is_dir()]
    if folders:
        train = [one for folder in folders for one in _voc_images(folder, _listed(folder, "trainval"))]
        test = _voc_images(path / "VOCdevkit" / "VOC2007", _listed(path / "VOCdevkit" / "VOC2007", "test"))
    else:
        tested = _listed(path, "test", "val")
        others = set(_listed(path, "trainval", "train")) - set(tested)
        train = _voc_images(path, sorted(others))
        test = _voc_images(path, tested)
    found = {name for one in train for name, _ in one.objects}
    return _data(path, VOC_CLASSES if found <= set(VOC_CLASSES) else tuple(sorted(found)), train, test)


def _listed(folder: Path, *names: str) -> list[str]:
    """The images that the first of these lists there is names."""
    lists = [folder / "ImageSets" / "Main" / f"{name}.txt" for name in names]
    for file in lists:
        if file.is_file():
            return [line.split()[0] for line in read_text(file).splitlines() if line.strip()]
    if not folder.is_dir():
        raise FileError(f"there is no folder {folder}; expected VOC's, with JPEGImages/, Annotations/ and ImageSets/")
    raise FileError(f"{folder} has no {' or '.join(str(file.relative_to(folder)) for file in lists)}; fetch it again")


def _voc_images(folder: Path, names: Sequence[str]) -> list[Annotated]:
    return [_voc_image(folder / "JPEGImages" / f"{name}.jpg", folder / "Annotations" / f"{name}.xml") for name in names]


def _voc_image(image: Path, source: Path) -> Annotated:
    for file in (image, source):
        if not file.is_file():
            raise FileError(f"{file} is missing, but ImageSets/Main lists {file.stem}; restore it")
    try:
        root = ElementTree.fromstring(read(source))
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the others: of its encoding
        raise FileError(f"{source} is empty or not XML: {error}; restore it") from None
    try:
        width, height = (float(_text(root, f"size/{side}")) for side in ("width", "height"))
        seen = [one for one in root.findall("object") if int(one.findtext("difficult") or "0") == 0]
        objects = [(_text(one, "name"), _voc_box(one)) for one in seen]
    except ValueError as error:
        raise FileError(f"{source} is not an annotation of VOC's: {error}; mend it") from None
    return Annotated(
        image=image,
        source=source,
        objects=[
            (name, _voc_shares(_inside(source, name, box, (width, height)), width, height)) for name, box in objects
        ],
    )


def _voc_box(element: ElementTree.Element) -> Corners:
    x1, y1, x2, y2 = (float(_text(element, f"bndbox/{name}")) for name in ("xmin", "ymin", "xmax", "ymax"))
    return x1, y1, x2, y2


def _voc_shares(box: Corners, width: float, height: float) -> Corners:
    """VOC counts pixels from 1 and includes the last; a 0, as other tools write, is taken for a 1."""
    x1, y1, x2, y2 = box
    return max(x1 - 1, 0.0) / width, max(y1 - 1, 0.0) / height, x2 / width, y2 / height


def _text(element: ElementTree.Element, path: str) -> str:
    text = (element.findtext(path) or "").strip()
    if not text:
        raise ValueError(f"<{element.tag}> without {path}")
    return text


def coco(path: Path) -> Data:
    """annotations/instances_train*.json and instances_val*.json in `path`, and the images. Raises FileError.

    Other names with train and val in them will do. Images are in the folder called as what follows `instances_`, in
    images/, or in `path` itself; val is the test split. Classes are in the order of their ids. Annotations of crowds
    are left out, and boxes without area, of which COCO has two.
    """
    train, test = (_instances(path, part) for part in ("train", "val"))
    document = _Document(train)
    classes = tuple(document.names.values())
    return _data(path, classes, document.images(path), _Document(test).images(path))


def _instances(path: Path, part: str) -> Path:
    """The file of annotations of a part."""
    folder = path / "annotations"
    if not folder.is_dir():
        raise FileError(f"there is no folder {folder}; expected COCO's, with instances_train*.json in it")
    found = sorted(folder.glob(f"instances_*{part}*.json")) or sorted(folder.glob(f"*{part}*.json"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise FileError(f"{folder} must have one instances_{part}*.json, but has {names}; leave one there")
    return found[0]


class _Document:
    """A file of COCO's annotations, checked as it is read."""

    def __init__(self, source: Path) -> None:
        self.source = source
        document = read_json(source)
        try:
            categories, self._images = document["categories"], document["images"]
            self.names: dict[int, str] = {one["id"]: str(one["name"]) for one in sorted(categories, key=_id)}
            self._of_image = defaultdict(list)
            for annotation in document["annotations"]:
                self._of_image[annotation["image_id"]].append(annotation)
            known = {_id(image) for image in self._images}
        except (KeyError, TypeError) as error:
            raise self._bad(error) from None
        strays = set(self._of_image) - known
        if strays:
            raise FileError(
                f"{source} has annotations of image {min(map(str, strays))}, which is not among its images; mend it"
            )

    def images(self, path: Path) -> list[Annotated]:
        """All of its images, with the objects on them."""
        try:
            folder = self._folder(path)
            return [
                Annotated(image=folder / one["file_name"], source=self.source, objects=list(self._objects(one)))
                for one in self._images
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise self._bad(error) from None

    def _folder(self, path: Path) -> Path:
        """Where the first image is."""
        folders = [path / self.source.stem.removeprefix("instances_"), path / "images", path]
        first = self._images[0]["file_name"] if self._images else ""
        for folder in folders:
            if (folder / first).exists():
                return folder
        raise FileError(f"{self.source} has {first}, which is in none of {', '.join(map(str, folders))}; put it there")

    def _objects(self, image: dict[str, Any]) -> Iterator[tuple[str, Corners]]:
        for one in self._of_image[image["id"]]:
            x, y, width, height = (float(value) for value in one["bbox"])
            if one.get("iscrowd", 0) or width == 0 or height == 0:
                continue
            if one["category_id"] not in self.names:
                raise FileError(f"{self.source}: category {one['category_id']!r} is not among its categories; mend it")
            name, (wide, high) = self.names[one["category_id"]], (float(image["width"]), float(image["height"]))
            what, box = f"{name} on {image['file_name']}", (x, y, x + width, y + height)
            x1, y1, x2, y2 = _inside(self.source, what, box, (wide, high), _ROUNDING)
            yield name, (x1 / wide, y1 / high, x2 / wide, y2 / high)

    def _bad(self, error: Exception) -> FileError:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        return FileError(f"{self.source} is not a file of COCO's annotations: {reason}; mend it")


def _id(record: dict[str, Any]) -> int:
    number: int = record["id"]
    return number


def _inside(source: Path, what: str, box: Corners, sides: tuple[float, float], slack: float = 0.0) -> Corners:
    """A box in pixels, cut to its image, outside of which it may lie by the slack."""
    (left, top, right, bottom), (width, height) = box, sides
    inside = min(left, top) >= -slack and right <= width + slack and bottom <= height + slack
    cut = max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height)
    if not (inside and cut[0] < cut[2] and cut[1] < cut[3]):
        pixels, image = ", ".join(f"{corner:g}" for corner in box), f"{width:g}x{height:g}"
        raise FileError(f"{source}: the box ({pixels}) of {what} is empty or outside its image of {image}; mend it")
    return cut


def _data(path: Path, classes: tuple[str, ...], train: list[Annotated], test: list[Annotated]) -> Data:
    if len(train) < 2 or not test:
        raise FileError(f"{path} has {len(train)} images to train on and {len(test)} to test on; 2 and 1 are needed")
    if not classes:
        raise FileError(f"{path} has no classes: its {len(train)} training images are without any object")
    kept, held = (indices.tolist() for indices in hold_out(torch.zeros(len(train), dtype=torch.int64), 0.1, "val"))
    split = partial(_split, {name: number for number, name in enumerate(classes)})
    return Data(
        task="detect",
        classes=classes,
        normalise=IMAGENET,
        train=split([train[i] for i in kept], flip=True),
        val=split([train[i] for i in held]),
        test=split(test),
    )


def _split(numbers: dict[str, int], images: list[Annotated], *, flip: bool = False) -> BoxSplit:
    files = ImageFiles([str(one.image) for one in images])
    return BoxSplit(read=files, objects=[_numbered(numbers, one) for one in images], flip=flip)


def _numbered(numbers: dict[str, int], image: Annotated) -> Tensor:
    """The objects of an image (M, 5)."""
    for name, _ in image.objects:
        if name not in numbers:
            known = ", ".join(list(numbers)[:5])
            raise FileError(f"{image.source}: no class {name!r} is among the {len(numbers)} to train on ({known}, ...)")
    return torch.tensor([(numbers[name], *box) for name, box in image.objects]).reshape(-1, 5)
