"""Contact sheets: a few images of each class, as a network sees them, in one PNG file."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .plots import render

_INCHES = 1.1  # along the side of an image
_LABEL_INCHES = 1.6  # width of the column of names
_CHARACTERS = 22  # of a name that fit into it


def contact_sheet(rows: Sequence[tuple[str, Sequence[Any]]], title: str) -> bytes:
    """Draw rows of images, each with its name in front.

    Args:
        rows: Name and images of each row, at least one; an image is (H, W, C), 0 to 255, with C 1 or 3.
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


def _draw(axes: Any, pixels: Any) -> None:
    height, width = pixels.shape[:2]
    axes.imshow(np.broadcast_to(pixels, (height, width, 3)), interpolation="nearest")


def _shortened(name: str) -> str:
    return name if len(name) <= _CHARACTERS else name[: _CHARACTERS - 1] + "…"
