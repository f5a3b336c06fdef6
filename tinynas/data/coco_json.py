"""The JSON files of COCO, as COCO and tools for annotation write them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any, NamedTuple

from ..utils.errors import FileError
from ..utils.io import read_json
from .annotated import check_name
from .objects import CROWD, OBJECT
from .pixel_boxes import AnnotatedObject, Corners, Size

_LARGEST = 1e9  # pixels
Record = dict[str, Any]
Objects = list[AnnotatedObject]


class CocoFile(NamedTuple):
    """The content of an annotation file.

    Attributes:
        categories: Names of the categories, in the order of their ids.
        file_names: Of the images.
        sizes: Width and height of every image, in pixels; None if there are none, or one of them is 0.
        objects: The objects on every image, crowds too, their boxes in pixels.
        dropped: How many annotations are left out, by their kind.
    """

    categories: list[str]
    file_names: list[str]
    sizes: list[Size | None]
    objects: list[Objects]
    dropped: Counter[str]


def read_coco(source: Path) -> CocoFile:
    """Read an annotation file.

    Raises:
        FileError: It cannot be read, is not JSON, or not in COCO's format.
    """
    document = read_json(source)
    try:
        return _content(document)
    except ValueError as error:
        raise FileError(f"{source} is not a file of COCO's annotations: {error}; fix the file") from None


def _content(document: Any) -> CocoFile:
    """Return the content of a document. Raises ValueError if it is not in COCO's format."""
    images = _by_id(_records(document, "images"), "images")
    categories = _by_id(_records(document, "categories"), "categories")
    names = {}
    for number in sorted(categories, key=_id_order):
        names[number] = _category_name(categories[number])
    objects: dict[Any, Objects] = {}
    file_names, sizes = [], []
    for number, image in images.items():
        objects[number] = []
        file_names.append(check_name(_field(image, "file_name", "images")))
        sizes.append(_size(image))
    annotations, crowds_without_box = [], 0
    for annotation in _records(document, "annotations"):
        if _is_crowd(annotation) and not annotation.get("bbox"):
            crowds_without_box += 1
        else:
            annotations.append(annotation)
    _check_boxes_exist(annotations)
    used_categories = set()
    for annotation in annotations:
        image_id = _reference(annotation, "image_id", images, "images")
        category = _reference(annotation, "category_id", categories, "categories")
        used_categories.add(category)
        objects[image_id].append(_object(names[category], annotation))
    _check_names(names, used_categories)
    return CocoFile(
        categories=list(dict.fromkeys(names.values())),
        file_names=file_names,
        sizes=sizes,
        objects=list(objects.values()),
        dropped=Counter({"annotations of crowds without bbox": crowds_without_box}),
    )


def _records(document: Any, key: str) -> list[Record]:
    """Return one of the document's lists of records. Raises ValueError if it has none."""
    records = document.get(key) if isinstance(document, dict) else None
    if not isinstance(records, list):
        raise ValueError(f"it has no list of {key}")
    for record in records:
        if not isinstance(record, dict):
            raise ValueError(f"one of its {key} is {short_repr(record)}")
    return records


def _field(record: Record, key: str, kind: str) -> Any:
    """Return a field of a record. Raises ValueError if it is missing."""
    if key not in record:
        raise ValueError(f"one of its {kind} has no {key}")
    return record[key]


def _id(record: Record, key: str, kind: str) -> Any:
    """Return an id of a record, a number or text. Raises ValueError if it is anything else."""
    value = _field(record, key, kind)
    if not isinstance(value, int | float | str):
        raise ValueError(f"one of its {kind} has the {key} {short_repr(value)}")
    return value


def _id_order(number: Any) -> tuple[bool, Any]:
    """Return the sorting key of an id: numbers come before text."""
    return isinstance(number, str), number


def _by_id(records: Sequence[Record], kind: str) -> dict[Any, Record]:
    """Return records by their ids, in their order. Raises ValueError if several have the same id."""
    by_id: dict[Any, Record] = {}
    for record in records:
        number = _id(record, "id", kind)
        if number in by_id:
            raise ValueError(f"several of its {kind} have the id {short_repr(number)}")
        by_id[number] = record
    return by_id


def _reference(annotation: Record, key: str, records: dict[Any, Record], kind: str) -> Any:
    """Return the id that an annotation has for an image or category. Raises ValueError if there is no such record."""
    number = _id(annotation, key, "annotations")
    if number not in records:
        raise ValueError(f"an annotation has the {key} {short_repr(number)}, which is not among its {kind}")
    return number


def _category_name(category: Record) -> str:
    """Return the name of a category, which can be a number. Raises ValueError if it is missing or anything else."""
    name = _field(category, "name", "categories")
    if isinstance(name, str) or _is_number(name):
        return check_name(str(name).strip())
    raise ValueError(f"one of its categories has the name {short_repr(name)}")


def _check_names(names: dict[Any, str], used: set[Any]) -> None:
    """Raise ValueError if several categories with objects have the same name."""
    names_with_objects = set()
    for number in used:
        if names[number] in names_with_objects:
            raise ValueError(f"several of its categories with objects have the name {names[number]}")
        names_with_objects.add(names[number])


def _check_boxes_exist(annotations: Sequence[Record]) -> None:
    """Raise ValueError if annotations have no box, such as those of keypoints or outlines only."""
    without = [annotation for annotation in annotations if not annotation.get("bbox")]
    if without:
        image = short_repr(without[0].get("image_id"))
        raise ValueError(
            f"{len(without)} of its {len(annotations)} annotations have no bbox, the first of them on image {image} "
            "(outlines and keypoints alone are not read)"
        )


def _is_crowd(annotation: Record) -> bool:
    """Return whether an annotation is of a crowd. Raises ValueError if it does not say so by 0 or 1."""
    value = annotation.get("iscrowd") or 0
    if value not in (0, 1):
        raise ValueError(f"one of its annotations has the iscrowd {short_repr(value)}")
    return bool(value)


def _object(name: str, annotation: Record) -> AnnotatedObject:
    """Return an annotation as an object; an area that is no positive number is as if there were none."""
    area = annotation.get("area", 0)
    return AnnotatedObject(
        name,
        _corners(annotation),
        area=float(area) if _is_number(area) and area > 0 else None,
        kind=CROWD if _is_crowd(annotation) else OBJECT,
    )


def _corners(annotation: Record) -> Corners:
    """Return the box of an annotation, in pixels. Raises ValueError if it is not four numbers."""
    bbox = annotation["bbox"]
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(_is_number, bbox)):
        image = short_repr(annotation["image_id"])
        raise ValueError(f"an annotation of image {image} has the bbox {short_repr(bbox)} instead of four numbers")
    x, y, width, height = bbox
    return float(x), float(y), float(x + width), float(y + height)


def _size(image: Record) -> Size | None:
    """Return the annotated width and height; None if one of them is missing or 0. Raises ValueError."""
    sides = []
    for key in ("width", "height"):
        side = image.get(key) or 0
        if not _is_number(side) or side < 0:
            raise ValueError(f"one of its images has the {key} {short_repr(side)}")
        sides.append(float(side))
    width, height = sides
    return (width, height) if width and height else None


def _is_number(value: Any) -> bool:
    """Return whether a value is a number that can be a coordinate."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST
