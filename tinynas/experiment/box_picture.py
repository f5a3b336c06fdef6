"""Pictures with boxes: objects as they are annotated or predicted, their names beside them."""

import io
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..utils.fonts import BOLD, REGULAR, font_file, font_runs, is_drawable
from ..utils.text import printable

SIDE = 480  # pixels, about, to which small images are enlarged
_COLOURS = (
    "#e6194b",
    "#3cb44b",
    "#4363d8",
    "#f58231",
    "#911eb4",
    "#008080",
    "#9a6324",
    "#800000",
    "#808000",
    "#000075",
)
_LINE, _FONT_SIZE = 2, 15  # pixels, at least, of a box's line and of the text beside it
_PER_LINE, _PER_FONT_SIZE = 400, 50  # pixels of a large picture's longer side for a pixel of these
_CHARACTERS = 24  # of a name that is shown
_CHARACTER_WIDTH = 0.7  # of one on average, as a fraction of the font size
_EDGE = "#ffffff"  # colour of the outer edge of a box's line, which tells it from dark images
_LABEL_WEIGHT = 8.0  # of covering another label, where covering a box weighs 1
_ORDER_WEIGHT = 0.01  # of a place that is further back in the order of preference
_COLUMNS, _MARGIN = 3, 12  # pictures side by side on a sheet, and pixels between them
_CAPTION_SIZE = 13  # pixels of the text below a picture
_CAPTION_CHARACTERS = 52

Rectangle = tuple[float, float, float, float]  # left, top, right, bottom


class LabelledBox(NamedTuple):
    """A box to draw."""

    name: str  # of its class
    corners: Rectangle  # in pixels of the image
    score: float | None = None  # of a prediction


def draw_boxes(
    pixels: Any, boxes: Sequence[LabelledBox], classes: Sequence[str], side: int = SIDE, *, exact: bool = False
) -> Image.Image:
    """Draw boxes with their class names, and their scores if they have any.

    Args:
        pixels: The image, uint8 (H, W, C); C is 1 or 3.
        boxes: The boxes.
        classes: All class names, which decide on the colours. "class NUMBER" is drawn in place of a name whose
            characters no installed font has.
        side: Pixels, at most, along the longer side to which a small image is enlarged, by a whole number.
        exact: Whether every image is enlarged or reduced to exactly that.
    """
    picture, scale = _scaled(pixels, side, exact=exact)
    longer = max(picture.size)
    line = max(_LINE, longer // _PER_LINE)
    draw = ImageDraw.Draw(picture)
    rectangles = [_on_picture(box.corners, scale, picture.size) for box in boxes]
    for box, rectangle in sorted(zip(boxes, rectangles, strict=True), key=_area, reverse=True):
        left, top, right, bottom = rectangle
        draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=_EDGE)
        draw.rectangle(rectangle, outline=_colour(box, classes), width=line)
    labels: list[Rectangle] = []
    font_size = max(_FONT_SIZE, longer // _PER_FONT_SIZE)
    most = min(_CHARACTERS, int(picture.width / (_CHARACTER_WIDTH * font_size)))
    for box, rectangle in zip(boxes, rectangles, strict=True):
        label = _Label(_text(box, classes, most), font_size, draw)
        place = _best_place(label.size, rectangle, rectangles, labels, picture.size)
        labels.append(place)
        label.draw(place, _colour(box, classes))
    return picture


def picture_sheet(pictures: Sequence[tuple[str, Image.Image]], title: str) -> bytes:
    """Return a PNG file of pictures in rows, each with a caption below it.

    Args:
        pictures: Caption and picture; at least one.
        title: Title of the sheet.
    """
    rows = [pictures[first : first + _COLUMNS] for first in range(0, len(pictures), _COLUMNS)]
    caption_height = 2 * _CAPTION_SIZE
    column = max(picture.width for _, picture in pictures) + _MARGIN
    heights = [max(picture.height for _, picture in row) + caption_height + _MARGIN for row in rows]
    size = (_MARGIN + len(rows[0]) * column, 3 * _MARGIN + sum(heights))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    _write(draw, title, (_MARGIN, _MARGIN // 2), size[0] // 8)
    top = 3 * _MARGIN
    for row, height in zip(rows, heights, strict=True):
        for number, (caption, picture) in enumerate(row):
            left = _MARGIN + number * column
            sheet.paste(picture, (left, top))
            _write(draw, caption, (left, top + picture.height + 2), _CAPTION_CHARACTERS)
        top += height
    return png(sheet)


def png(picture: Image.Image) -> bytes:
    """Return a picture as the content of a PNG file."""
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


class _Label:
    """A text in white on a colour; some characters may need other fonts."""

    def __init__(self, text: str, font_size: int, draw: ImageDraw.ImageDraw) -> None:
        self._draw = draw
        self._pad = max(2, font_size // 8)
        self._runs = _fonts(text, BOLD, font_size)
        metrics = [font.getmetrics() for _, font in self._runs]
        self._ascent = max(ascent for ascent, _ in metrics)
        descent = max(descent for _, descent in metrics)
        width = sum(round(font.getlength(text)) for text, font in self._runs)
        self.size = (width + 2 * self._pad, self._ascent + descent + self._pad)

    def draw(self, place: Rectangle, colour: str) -> None:
        """Draw the label in a rectangle of its size."""
        left, top, right, bottom = place
        self._draw.rectangle((left, top, right - 1, bottom - 1), fill=colour)
        left += self._pad
        baseline = top + self._pad // 2 + self._ascent
        for text, font in self._runs:
            self._draw.text((left, baseline), text, fill="white", font=font, anchor="ls")
            left += round(font.getlength(text))


def _scaled(pixels: Any, side: int, *, exact: bool) -> tuple[Image.Image, float]:
    """Return an image as RGB, enlarged or reduced, and by what factor."""
    height, width = pixels.shape[:2]
    image = Image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels, (height, width, 3))))
    longer = max(height, width)
    if exact:
        size = (max(1, round(width * side / longer)), max(1, round(height * side / longer)))
        return image.resize(size, Image.Resampling.LANCZOS), side / longer
    scale = max(1, side // longer)
    return image.resize((scale * width, scale * height), Image.Resampling.NEAREST), scale


def _on_picture(corners: Rectangle, scale: float, size: tuple[int, int]) -> Rectangle:
    """Return a box in whole pixels of the picture, its last pixel included; at least a pixel wide and high."""
    left, top, right, bottom = [round(scale * corner) for corner in corners]
    left, top = min(max(0, left), size[0] - 1), min(max(0, top), size[1] - 1)
    return left, top, max(left, min(right, size[0]) - 1), max(top, min(bottom, size[1]) - 1)


def _area(drawn: tuple[LabelledBox, Rectangle]) -> float:
    left, top, right, bottom = drawn[1]
    return (right - left) * (bottom - top)


def _colour(box: LabelledBox, classes: Sequence[str]) -> str:
    return _COLOURS[list(classes).index(box.name) % len(_COLOURS)]


def _text(box: LabelledBox, classes: Sequence[str], most: int) -> str:
    """Return what is written beside a box, about a number of characters at most."""
    name = printable(box.name)
    if not is_drawable(name):
        name = f"class {list(classes).index(box.name)}"
    score = "" if box.score is None else f" {box.score:.2f}"
    return _shortened(name, max(2, most - len(score))) + score


def _best_place(
    size: tuple[int, int],
    box: Rectangle,
    boxes: Sequence[Rectangle],
    labels: Sequence[Rectangle],
    picture: tuple[int, int],
) -> Rectangle:
    """Return the rectangle of a box's label: outside of the box, where it covers the least of boxes and labels.

    Args:
        size: Width and height of the label.
        box: Its box.
        boxes: All boxes.
        labels: The labels that are drawn.
        picture: Width and height of the picture, which it stays in.
    """
    best: Rectangle = (0, 0, 0, 0)
    least = float("inf")
    for order, (left, top) in enumerate(_places(size, box)):
        left = int(max(0, min(left, picture[0] - size[0])))
        top = int(max(0, min(top, picture[1] - size[1])))
        label = (left, top, left + size[0], top + size[1])
        cost = _covered(label, boxes) + _LABEL_WEIGHT * _covered(label, labels) + _ORDER_WEIGHT * order
        if cost < least:
            best, least = label, cost
    return best


def _places(size: tuple[int, int], box: Rectangle) -> Iterable[tuple[float, float]]:
    """Return upper left corners of labels around a box and in its corners, the preferred ones first."""
    width, height = size
    left, top, right, bottom = box
    return (
        (left, top - height),
        (left, bottom + 1),
        (right - width + 1, top - height),
        (right - width + 1, bottom + 1),
        (right + 1, top),
        (left - width, top),
        (left, top),
        (left, bottom - height + 1),
        (right - width + 1, top),
        (right - width + 1, bottom - height + 1),
    )


def _covered(label: Rectangle, others: Sequence[Rectangle]) -> float:
    """Return the sum of the fractions of rectangles that a label covers."""
    if not others:
        return 0.0
    left, top, right, bottom = np.array(others, dtype=float).T
    width = np.minimum(right + 1, label[2]) - np.maximum(left, label[0])
    height = np.minimum(bottom + 1, label[3]) - np.maximum(top, label[1])
    areas = (right + 1 - left) * (bottom + 1 - top)
    return float((width.clip(0) * height.clip(0) / areas).sum())


def _write(draw: ImageDraw.ImageDraw, text: str, corner: tuple[int, int], most: int) -> None:
    """Write a line of text in black, shortened to a number of characters."""
    left, top = corner
    for run, font in _fonts(_shortened(printable(text), most), REGULAR, _CAPTION_SIZE):
        draw.text((left, top + _CAPTION_SIZE), run, fill="black", font=font, anchor="ls")
        left += round(font.getlength(run))


def _fonts(text: str, preferred: str, size: int) -> list[tuple[str, Any]]:
    """Return the parts of a text with their fonts; at least one."""
    runs = []
    for run in font_runs(text, preferred):
        runs.append((run.text, ImageFont.truetype(str(run.font), size)))
    return runs or [("", ImageFont.truetype(str(font_file(preferred)), size))]


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
