"""log.jsonl: one line an epoch, and the same as TensorBoard scalars."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..utils.errors import InputError
from ..utils.io import append_line, read_text, write


class Log:
    """A log.jsonl. What a resumed training repeats replaces what the killed one had written after its checkpoint.

    With `tensorboard` the figures are also written as scalars, beside it. Raises InputError if that is not installed.
    """

    def __init__(self, path: Path, *, tensorboard: bool = False) -> None:
        self.path = path
        self._opened = False
        if tensorboard and not find_spec("tensorboard"):
            raise InputError("--tensorboard needs the package tensorboard: pip install 'tinynas[tensorboard]'")
        self._tensorboard = tensorboard
        self._writer: Any = None

    def add(self, record: dict[str, Any]) -> None:
        """Append a record that has a "step". Raises FileError."""
        if not self._opened and self.path.exists():
            lines = [line for line in read_text(self.path).splitlines() if _step_of(line) < record["step"]]
            write(self.path, "".join(f"{line}\n" for line in lines))
        self._opened = True
        append_line(self.path, record)
        if self._tensorboard:
            self._write_scalars(record)

    def _write_scalars(self, record: dict[str, Any]) -> None:
        if not self._writer:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.path.parent / "tensorboard"), purge_step=record["step"])
        for name, value in record.items():
            self._writer.add_scalar(name, value, record["step"])
        self._writer.flush()


def last_record(path: Path) -> dict[str, Any]:
    """The last whole record of a log.jsonl, or an empty one."""
    lines = [line for line in read_text(path).splitlines() if _step_of(line) < float("inf")]
    return dict(json.loads(lines[-1])) if lines else {}


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # half a line, from a write that was cut off
