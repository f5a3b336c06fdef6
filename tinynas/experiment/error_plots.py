"""Plots of a model's errors: its confusion matrix, and a detector's precision over recall, as PNG files."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from .evaluation_report import ErrorReport
from .plots import render

_MOST_NUMBERED = 25  # classes up to which every cell has its count
_MOST_NAMED = 60  # classes up to which every row and column has its name
_MOST_COLOURED = 10  # curves up to which every class has a colour and a place in the legend
_CELL = 0.38  # inches


def confusion_plot(report: ErrorReport, *, title: str) -> bytes:
    """Draw a confusion matrix: rows are true classes, columns what is predicted; colours are fractions of the row.

    Args:
        report: Its classes and counts.
        title: Title of the plot.

    Returns:
        A PNG file.
    """
    counts = np.array(report.confusion)
    fractions = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = 2.5 + _CELL * min(len(counts), _MOST_NAMED)
    figure = Figure(figsize=(side + 1, side), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="fraction of the row", shrink=0.8)
    if len(counts) <= _MOST_NAMED:
        axes.set_xticks(range(len(counts)), report.classes, rotation=90, fontsize=7)
        axes.set_yticks(range(len(counts)), report.classes, fontsize=7)
    if len(counts) <= _MOST_NUMBERED:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if fractions[row, column] > 0.5 else "black"
                axes.text(column, row, str(count), ha="center", va="center", fontsize=6, color=colour)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title, fontsize=10)
    return render(figure)


def precision_recall_plot(recalls: Sequence[float], curves: Mapping[str, Sequence[float]], *, title: str) -> bytes:
    """Draw precision over recall, of every class and their mean.

    Args:
        recalls: Recalls, 0 to 1, at which precisions are known.
        curves: Precisions, 0 to 1, at these by class name.
        title: Title of the plot.

    Returns:
        A PNG file.
    """
    figure = Figure(figsize=(6, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    are_coloured = len(curves) <= _MOST_COLOURED
    for number, (name, precisions) in enumerate(curves.items()):
        if are_coloured:
            label = f" {name}" if name.startswith("_") else name  # matplotlib leaves out "_..."
            axes.plot(recalls, precisions, linewidth=1, color=f"C{number}", label=label)
        else:
            axes.plot(recalls, precisions, linewidth=0.6, color="0.75", label="each class" if number == 0 else None)
    if curves:
        mean = np.mean(list(curves.values()), 0)
        axes.plot(recalls, mean, linewidth=2.2, color="black", label=f"mean of {len(curves)} classes")
        axes.legend(fontsize=8, loc="lower left")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.3)
    return render(figure)
