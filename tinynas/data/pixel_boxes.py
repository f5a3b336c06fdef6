"""Annotated boxes as fractions of the image as it is shown: turned, clipped, or left out with the reason.

Most tools annotate a photograph as its EXIF orientation says that it is shown; some annotate it as it is stored. The
annotated size tells which, if the orientation turns the image by a quarter (5 to 8) and it is not square. In all other
cases boxes are taken as drawn on the image as it is shown.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..utils.errors import FileError, some_names
from .images import ImageFacts
from .objects import OBJECT

Corners = tuple[float, float, float, float]  # x1, y1, x2, y2
Size = tuple[float, float]  # width, height

CLIPPED = "boxes that reached outside of their image, clipped"  # kinds of problems, as they are reported
OUTSIDE = "boxes outside of their image"
NEGATIVE = "boxes with a negative width or height"
WITHOUT_AREA = "boxes without area"
_SLACK = 1.0  # pixels by which a box may lie outside of its image without mention, as a few of COCO's do
_SMALLEST_SIDE = 0.01  # pixels; a box with a shorter one has no area
_MIRRORED = {  # EXIF orientation: the stored image is transposed, then mirrored left to right, and top to bottom
    5: (False, False),
    6: (True, False),
    7: (True, True),
    8: (False, True),
}


class AnnotatedObject(NamedTuple):
    """An object on an annotated image.

    Attributes:
        name: Its class.
        box: In pixels of the annotated size; of checked images, in fractions of the image.
        area: In pixels, if it is annotated; of checked images, it is the box's otherwise.
        kind: OBJECT, CROWD or DIFFICULT, as in objects.py.
    """

    name: str
    box: Corners
    area: float | None = None
    kind: int = OBJECT


class AnnotatedImage(NamedTuple):
    """An image file and the objects on it.

    Attributes:
        image: Path of the image.
        source: The file with the annotations, for error messages.
        size: Width and height that the annotations state, in pixels; None if they state none.
        objects: The objects, crowds and difficult ones too; their boxes in pixels of `size`.
        origin: Coordinate of the leftmost and of the uppermost pixel; where it is 1, boxes include their last pixel.
        in_fractions: Whether boxes are fractions of the width and height of the image as it is shown; `size` is None.
    """

    image: str
    source: Path
    size: Size | None
    objects: Sequence[AnnotatedObject]
    origin: int = 0
    in_fractions: bool = False


class BoxProblem(NamedTuple):
    """A box that was clipped, or left out."""

    kind: str  # CLIPPED, OUTSIDE, NEGATIVE or WITHOUT_AREA
    box: str  # which box it is, for messages


def check_sizes(images: Sequence[AnnotatedImage], facts: Sequence[ImageFacts | None]) -> None:
    """Compare annotated sizes with those of the files; images that cannot be read have no facts and are left out.

    Raises:
        FileError: An annotated size is neither the image's as it is shown, nor as it is stored.
    """
    contradicting = []
    for annotated, fact in zip(images, facts, strict=True):
        if fact is None or annotated.size is None:
            continue
        if annotated.size not in (_shown_size(fact), _stored_size(fact)):
            contradicting.append((annotated, fact))
    if not contradicting:
        return
    described = []
    for annotated, fact in contradicting:
        described.append(f"{Path(annotated.image).name} {_size(annotated.size)} instead of {_described_size(fact)}")
    raise FileError(
        f"{contradicting[0][0].source}: the annotated size contradicts the image file, for {len(contradicting)} of "
        f"{len(images)} images: {some_names(described)}; restore the images that were annotated, or state the size 0 "
        "if the boxes are in pixels of the files"
    )


def boxes_as_fractions(annotated: AnnotatedImage, facts: ImageFacts) -> tuple[list[AnnotatedObject], list[BoxProblem]]:
    """Return the objects on an image, their boxes as fractions, and the boxes that were clipped or left out.

    Boxes are clipped to the image, turned as it is, and divided by its width and height as it is shown. Those without
    area, with a negative width or height, or wholly outside of the image are left out.
    """
    width, height = _shown_size(facts)
    size = annotated.size or (width, height)
    is_turned = size != (width, height)
    objects, problems = [], []
    for annotated_object in annotated.objects:
        box = annotated_object.box
        clipped, problem = _clipped(_scaled(box, size) if annotated.in_fractions else box, annotated.origin, size)
        if problem is not None:
            problems.append(BoxProblem(problem, _described_box(annotated, annotated_object)))
        if clipped is None:
            continue
        x1, y1, x2, y2 = turned_box(clipped, facts.orientation, (width, height)) if is_turned else clipped
        area = annotated_object.area or (x2 - x1) * (y2 - y1)
        fractions = (x1 / width, y1 / height, x2 / width, y2 / height)
        objects.append(annotated_object._replace(box=fractions, area=area))
    return objects, problems


def turned_box(box: Corners, orientation: int, size: Size) -> Corners:
    """Turn a box as an image of EXIF orientation 5 to 8 is turned to be shown.

    Args:
        box: On the image as it is stored; in pixels, or in fractions.
        orientation: The orientation.
        size: Width and height of the image as it is shown, in the unit of the box.
    """
    top, left, bottom, right = box  # transposed
    width, height = size
    mirror_x, mirror_y = _MIRRORED[orientation]
    if mirror_x:
        left, right = width - right, width - left
    if mirror_y:
        top, bottom = height - bottom, height - top
    return left, top, right, bottom


def _scaled(box: Corners, size: Size) -> Corners:
    """Return a box in fractions of an image in pixels of its size."""
    x1, y1, x2, y2 = box
    width, height = size
    return x1 * width, y1 * height, x2 * width, y2 * height


def _clipped(box: Corners, origin: int, size: Size) -> tuple[Corners | None, str | None]:
    """Clip a box to its image and count its pixels from 0.

    Returns:
        The box, None if it is left out; and the kind of its problem, None if it has none.
    """
    left, top, right, bottom = box
    width, height = size
    if right < left or bottom < top:
        return None, NEGATIVE
    if right - left < _SMALLEST_SIDE or bottom - top < _SMALLEST_SIDE:
        return None, WITHOUT_AREA
    left, top = left - origin, top - origin
    reaches_out = min(left, top) < -_SLACK or right > width + _SLACK or bottom > height + _SLACK
    left, top, right, bottom = max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height)
    if right - left < _SMALLEST_SIDE or bottom - top < _SMALLEST_SIDE:
        return None, OUTSIDE
    return (left, top, right, bottom), CLIPPED if reaches_out else None


def _described_box(annotated: AnnotatedImage, annotated_object: AnnotatedObject) -> str:
    x1, y1, x2, y2 = annotated_object.box
    return f"({x1:g}, {y1:g}, {x2:g}, {y2:g}) of {annotated_object.name} on {Path(annotated.image).name}"


def _shown_size(facts: ImageFacts) -> Size:
    return float(facts.width), float(facts.height)


def _stored_size(facts: ImageFacts) -> Size:
    width, height = _shown_size(facts)
    return (height, width) if facts.orientation in _MIRRORED else (width, height)


def _described_size(facts: ImageFacts) -> str:
    shown, stored = _size(_shown_size(facts)), _size(_stored_size(facts))
    return shown if shown == stored else f"{shown} ({stored} before it is turned)"


def _size(size: Size | None) -> str:
    width, height = size or (0.0, 0.0)
    return f"{width:g}x{height:g}"
