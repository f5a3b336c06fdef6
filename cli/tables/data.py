"""The table of a data set."""

from typing import TYPE_CHECKING

from ..screen import Screen

if TYPE_CHECKING:
    from tinynas.data.summary import DataSummary


def show_data(screen: Screen, summary: "DataSummary") -> None:
    """Show the images, or objects, of each class in each split, then everything else in a few lines."""
    unit = "objects" if summary.task == "detect" else "images"
    rows = []
    for name, train in summary.by_class["train"].items():
        row = {"class": name, "train": f"{train:,}"}
        row["search-val"] = f"{summary.by_class['val'][name]:,}"
        row["test"] = f"{summary.by_class['test'][name]:,}"
        rows.append(row)
    screen.table(f"{unit.capitalize()} of each class", rows)
    for line in summary.lines():
        screen.note(line)
