"""Contact sheets: a few images of each class, as a network sees them, in one PNG file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from .plots import render, set_fonts

_INCHES = 1.1  # along the side of an image
_LABEL_INCHES = 1.6  # width of the column of names
_CHARACTERS = 22  # of a name that fit into it
_COLOUR = "#00d0ff"  # of boxes


@dataclass(frozen=True, kw_only=True)
class Shown:
    """An image on a contact sheet.

    Attributes:
        pixels: (H, W, C), 0 to 255; C is 1 or 3.
        boxes: Left, top, right and bottom, as fractions of width and height, and the name of each object.
    """

    pixels: Any
    boxes: Sequence[tuple[tuple[float, float, float, float], str]] = ()


def contact_sheet(rows: Sequence[tuple[str, Sequence[Shown]]], title: str) -> bytes:
    """Draw rows of images, each with its name in front.

    Args:
        rows: Name and images of each row; at least one.
        title: Title of the sheet.

    Returns:
        A PNG file.
    """
    columns = max(len(images) for _, images in rows)
    figure = Figure(figsize=(_LABEL_INCHES + columns * _INCHES, 0.5 + len(rows) * _INCHES), dpi=120)
    top = 1 - 0.5 / figure.get_figheight()
    grid = figure.add_gridspec(
        len(rows), columns, left=_LABEL_INCHES / figure.get_figwidth(), right=0.995, bottom=0.005, top=top,
        wspace=0.04, hspace=0.04,
    )  # fmt: skip
    FigureCanvasAgg(figure)  # which measures texts
    figure.text(0.01, 1 - 0.25 / figure.get_figheight(), title, fontsize=9, va="center")
    for number, (name, images) in enumerate(rows):
        for column, image in enumerate(images):
            axes = figure.add_subplot(grid[number, column])
            axes.set_axis_off()
            _draw(axes, image)
            if column == 0:
                axes.text(-0.06, 0.5, _shortened(name), transform=axes.transAxes, ha="right", va="center", fontsize=8)
    return render(figure)


def _draw(axes: Any, image: Shown) -> None:
    height, width = image.pixels.shape[:2]
    axes.imshow(np.broadcast_to(image.pixels, (height, width, 3)), interpolation="nearest")
    for (left, top, right, bottom), name in image.boxes:
        corner = (left * width - 0.5, top * height - 0.5)
        sides = ((right - left) * width, (bottom - top) * height)
        axes.add_patch(Rectangle(corner, *sides, fill=False, edgecolor=_COLOUR, linewidth=1))
        label = {"facecolor": _COLOUR, "linewidth": 0, "pad": 0.4}
        text = axes.text(*corner, _shortened(name), fontsize=4.5, color="black", va="bottom", bbox=label, clip_on=True)
        _move_inside(text)


def _move_inside(text: Text) -> None:
    """Move a label down or to the left until it is inside of its axes; one that is wider begins at their left side."""
    axes: Any = text.axes
    axes.apply_aspect()
    set_fonts(text)
    area, label = axes.get_window_extent(), text.get_window_extent()
    left, bottom = axes.transData.transform(text.get_position())
    left = max(area.x0, left - max(0, label.x1 - area.x1))
    bottom -= max(0, label.y1 - area.y1)
    text.set_position(axes.transData.inverted().transform((left, bottom)))


def _shortened(name: str) -> str:
    return name if len(name) <= _CHARACTERS else name[: _CHARACTERS - 1] + "…"
