"""log.jsonl: one line per epoch, and optionally the same figures as TensorBoard scalars."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..utils.errors import InputError
from ..utils.io import append_line, from_json, read_text, write


class RunLog:
    """Appends records to a log.jsonl.

    A resumed training repeats the steps after its last checkpoint: its first record replaces all records of the same
    or later steps that an interrupted process had written.

    Args:
        path: The file.
        tensorboard: Also write every figure as a TensorBoard scalar, into tensorboard/ beside the file.

    Raises:
        InputError: TensorBoard is requested but not installed.
    """

    def __init__(self, path: Path, *, tensorboard: bool = False) -> None:
        self.path = path
        self._opened = False
        if tensorboard and not find_spec("tensorboard"):
            raise InputError("--tensorboard needs the package tensorboard: pip install 'tinynas[tensorboard]'")
        self._tensorboard = tensorboard
        self._writer: Any = None

    def add(self, record: dict[str, Any]) -> None:
        """Append a record of numbers, one of them the "step"; None stands for a figure that is missing.

        Raises:
            FileError: The file cannot be written.
        """
        if not self._opened and self.path.exists():
            self._drop_from(record["step"])
        self._opened = True
        append_line(self.path, record)
        if self._tensorboard:
            self._write_scalars(record)

    def _drop_from(self, step: int) -> None:
        """Drop the records of this step and later ones, and a line that was cut off."""
        kept = ""
        for line in read_text(self.path).splitlines():
            if _step_of(line) < step:
                kept += line + "\n"
        write(self.path, kept)

    def _write_scalars(self, record: dict[str, Any]) -> None:
        if not self._writer:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.path.parent / "tensorboard"), purge_step=record["step"])
        for name, value in record.items():
            if value is not None:
                self._writer.add_scalar(name, value, record["step"])
        self._writer.flush()


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
