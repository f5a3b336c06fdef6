"""log.jsonl: one line per epoch, and the same figures for trackers."""

from pathlib import Path
from typing import Any

from ..utils.io import append_line, from_json, read_text, write
from .trackers import Trackers


class RunLog:
    """Appends records to a log.jsonl.

    A resumed training repeats the steps after its last checkpoint: its first record replaces all records of the same
    or later steps that an interrupted process had written.

    Args:
        path: The file.
        trackers: Receive every figure as well.
    """

    def __init__(self, path: Path, *, trackers: Trackers | None = None) -> None:
        self.path = path
        self.trackers = trackers or Trackers()
        self._opened = False

    def add(self, record: dict[str, Any]) -> None:
        """Append a record of numbers, one of them the "step"; None stands for a figure that is missing.

        Raises:
            FileError: The file cannot be written.
        """
        if not self._opened and self.path.exists():
            self._drop_from(record["step"])
        self._opened = True
        append_line(self.path, record)
        self.trackers.add({name: value for name, value in record.items() if name != "step"}, step=record["step"])

    def _drop_from(self, step: int) -> None:
        """Drop the records of this step and later ones, and a line that was cut off."""
        kept = ""
        for line in read_text(self.path).splitlines():
            if _step_of(line) < step:
                kept += line + "\n"
        write(self.path, kept)


def last_record(path: Path) -> dict[str, Any]:
    """Return the last complete record of a log.jsonl, or an empty one.

    Raises:
        FileError: The file cannot be read.
    """
    return next(reversed(records(path)), {})


def records(path: Path) -> list[dict[str, Any]]:
    """Return the complete records of a log.jsonl.

    Raises:
        FileError: The file cannot be read.
    """
    complete = []
    for line in read_text(path).splitlines():
        if _step_of(line) < float("inf"):
            complete.append(dict(from_json(line)))
    return complete


def highest(path: Path, figure: str, *, before: int) -> float:
    """Return the highest value of a figure in the records of a log.jsonl before a step, -infinity if there is none.

    Raises:
        FileError: The file cannot be read.
    """
    best = float("-inf")
    for line in read_text(path).splitlines() if path.exists() else []:
        if _step_of(line) < before:
            best = max(best, from_json(line).get(figure, best))
    return best


def _step_of(line: str) -> float:
    """Return the step of a record; infinity if the line was cut off while it was written."""
    try:
        return float(from_json(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
