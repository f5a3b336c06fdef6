"""The label files of YOLO data sets: the class of each object, and its box or outline in fractions of the image.

A line has the number of the class, then one of these:

- the centre of the box, its width and height;
- the same, then keypoints, which are not read, if data.yaml says how many values these have;
- the points of an outline, x and y of at least three; its bounding box is used.
"""

from collections.abc import Sequence
from pathlib import Path

from ..utils.errors import FileError
from ..utils.io import read_text
from ..utils.numbers import finite_number, shortened
from .pixel_boxes import Corners

_FEWEST_OUTLINE = 7  # values of a line with an outline: the class and three points
_FARTHEST = 1.0  # by how much a fraction may be less than 0 or more than 1: what is farther is no fraction


def read_labels(file: Path, *, classes: int | None = None, keypoint_values: int = 0) -> list[tuple[int, Corners]]:
    """Read a label file; repeated lines count once.

    Args:
        file: The file.
        classes: Number of classes; None if it is unknown.
        keypoint_values: How many values a line has for keypoints, after those of the box.

    Returns:
        The number of the class and the box, in fractions of the image, of every object.

    Raises:
        FileError: The file cannot be read, or a line is wrong: of another number of values, or with a value that is no
            number, no fraction or not the number of a class.
    """
    objects = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        words = line.split()
        try:
            if words:
                objects.append((_class(words[0], classes), _box(words[1:], keypoint_values)))
        except ValueError as error:
            raise FileError(f"{file}, line {number}: {error}; fix the file") from None
    return list(dict.fromkeys(objects))


def _class(word: str, classes: int | None) -> int:
    """Return the number of a class. Raises ValueError if there is no such class."""
    number = finite_number(word)
    if number != int(number) or number < 0:
        raise ValueError(f"the class {shortened(word)} is not a whole number from 0 on")
    if classes is not None and number >= classes:
        raise ValueError(f"the class {shortened(word)} is not from 0 to {classes - 1}, as there are {classes} classes")
    return int(number)


def _box(words: Sequence[str], keypoint_values: int) -> Corners:
    """Return the box of an object from the values after its class. Raises ValueError if they are wrong."""
    values = [_fraction(word) for word in words[:4]]
    if len(words) == 4 or (keypoint_values and len(words) == 4 + keypoint_values):
        x, y, width, height = values
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if len(words) + 1 < _FEWEST_OUTLINE or len(words) % 2:
        raise ValueError(
            f"it has {len(words) + 1} values, but a class and a box have 5, a class and an outline an odd number from "
            f"{_FEWEST_OUTLINE} on"
        )
    values += [_fraction(word) for word in words[4:]]
    across, down = values[::2], values[1::2]
    return min(across), min(down), max(across), max(down)


def _fraction(word: str) -> float:
    """Return a fraction of the image's width or height, a little outside of it too. Raises ValueError otherwise."""
    value = finite_number(word)
    if not -_FARTHEST <= value <= 1 + _FARTHEST:
        raise ValueError(f"{shortened(word)} is not a fraction of the image (divide pixels by its width and height)")
    return value
