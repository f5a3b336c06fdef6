"""The XML files of Pascal VOC, as VOC and tools for annotation write them."""

from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from ..utils.errors import FileError
from ..utils.io import read
from ..utils.numbers import finite_number
from .annotated import check_name
from .objects import DIFFICULT, OBJECT
from .pixel_boxes import AnnotatedObject, Corners, Size


class VocAnnotation(NamedTuple):
    """The content of an XML file.

    Attributes:
        source: Its path.
        filename: The name that it has for its image, which may be outdated; "" if there is none.
        size: Width and height of the image, in pixels; None if there is none, or one of them is 0.
        objects: The objects, their boxes in pixels counted from 1.
    """

    source: Path
    filename: str
    size: Size | None
    objects: list[AnnotatedObject]


def read_annotation(source: Path) -> VocAnnotation:
    """Read an XML file, in any encoding that it declares.

    Raises:
        FileError: It cannot be read, is not XML or no annotation, or a number in it is none.
    """
    content = read(source)
    if b"<!ENTITY" in content.replace(b"\0", b""):  # also in UTF-16; entities can expand without end
        raise FileError(f"{source} defines entities, which no annotation needs; remove them")
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the latter two for a wrong encoding
        raise FileError(f"{source} is empty or not XML: {error}; restore it") from None
    try:
        return _annotation(source, root)
    except ValueError as error:
        raise FileError(f"{source} is not an annotation of VOC's: {error}; fix the file") from None


def _annotation(source: Path, root: ElementTree.Element) -> VocAnnotation:
    """Return the content of an XML document. Raises ValueError if something is missing or no number."""
    if root.tag != "annotation":
        raise ValueError(f"it begins with <{root.tag}> instead of <annotation>")
    objects = []
    for element in root.findall("object"):
        name = check_name(_text(element, "name"))
        is_difficult = finite_number(_optional_text(element, "difficult") or "0") != 0
        objects.append(AnnotatedObject(name, _box(element), kind=DIFFICULT if is_difficult else OBJECT))
    return VocAnnotation(source, _optional_text(root, "filename"), _size(root), objects)


def _size(root: ElementTree.Element) -> Size | None:
    """Return the annotated width and height; None if one of them is missing or 0. Raises ValueError."""
    width = finite_number(_optional_text(root, "size/width") or "0")
    height = finite_number(_optional_text(root, "size/height") or "0")
    if min(width, height) < 0:
        raise ValueError(f"its size is {width:g}x{height:g}")
    return (width, height) if width and height else None


def _box(element: ElementTree.Element) -> Corners:
    x1, y1 = finite_number(_text(element, "bndbox/xmin")), finite_number(_text(element, "bndbox/ymin"))
    return x1, y1, finite_number(_text(element, "bndbox/xmax")), finite_number(_text(element, "bndbox/ymax"))


def _text(element: ElementTree.Element, path: str) -> str:
    """Return the text of a descendant. Raises ValueError if it is missing or empty."""
    text = _optional_text(element, path)
    if not text:
        raise ValueError(f"<{element.tag}> without {path}")
    return text


def _optional_text(element: ElementTree.Element, path: str) -> str:
    """Return the text of a descendant, on one line; "" if it is missing or empty."""
    return " ".join((element.findtext(path) or "").split())
