"""Output of commands: tables and progress bars on a terminal, plain lines in a pipe, one JSON document with --json."""

import errno
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from tinynas.utils.errors import FileError
from tinynas.utils.io import to_json
from tinynas.utils.text import printable
from tinynas.utils.torchrun import is_silent_rank

Row = dict[str, str]  # a table's cells by the titles of their columns
_LINE_SECONDS = 10.0  # between two lines of progress in a pipe


class Screen:
    """Output of a command; a `ProgressReporter`. As a context manager it shows progress bars on a terminal.

    Under torchrun only the first process shows anything.

    Args:
        as_json: Write only the JSON document to stdout, and everything else to stderr.
    """

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.quiet = is_silent_rank()
        self.console = Console(
            stderr=as_json, highlight=False, markup=False, emoji=False, soft_wrap=True, quiet=self.quiet
        )
        self._progress: Progress | None = None
        self._bars: dict[str, TaskID] = {}  # by task
        self._lines: dict[str, _TaskLines] = {}

    def __enter__(self) -> "Screen":
        if self.console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[text]}", markup=False),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._progress:
            self._progress.stop()

    def note(self, text: str) -> None:
        """Print a line."""
        with _full_disk_errors():
            self.console.print(printable(text))

    def advance(self, task: str, done: int, total: int, text: str) -> None:
        """Update a task's progress bar; in a pipe, print a line at its start, every ten seconds, and at its end."""
        if self._progress:
            if task not in self._bars:
                self._bars[task] = self._progress.add_task(task, total=total, text=text)
            self._progress.update(self._bars[task], completed=done, text=text)
            return
        if task not in self._lines:
            self._lines[task] = _TaskLines(done)
        lines = self._lines[task]
        if lines.is_due(done, total):
            self.note(f"{task} {done}/{total}: {text}{lines.time_left(done, total)}")

    def table(self, title: str, rows: Sequence[Row], *, left: int = 1) -> None:
        """Show a table, unless the output is JSON.

        Args:
            title: Its title.
            rows: At least one row; all have the same columns in the same order.
            left: How many of the first columns are words, aligned left; the others are numbers, aligned right.
        """
        if self.as_json:
            return
        rows = self._encodable_rows(rows)
        if not self.console.is_terminal:
            self.note(title)
            for line in _plain_lines(rows, left):
                self.note(line)
            return
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        for number, column in enumerate(rows[0]):
            justify: JustifyMethod = "left" if number < left else "right"
            table.add_column(column, justify=justify, min_width=_unwrapped_width(column, rows))
        for row in rows:
            table.add_row(*row.values())
        width = max(self.console.width, Measurement.get(self.console, self.console.options, table).minimum)
        with _full_disk_errors():
            self.console.print(table, width=width, crop=False)

    def _encodable_rows(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows with escapes for what the console's encoding lacks, so that widths are those printed."""
        encodable = []
        for row in rows:
            cells = {}
            for title, cell in row.items():
                cells[self._encodable(title)] = self._encodable(cell)
            encodable.append(cells)
        return encodable

    def _encodable(self, text: str) -> str:
        encoding = self.console.encoding
        return printable(text).encode(encoding, "backslashreplace").decode(encoding)

    def document(self, content: Any) -> None:
        """Print the command's result as JSON, if --json is set."""
        if self.as_json and not self.quiet:
            with _full_disk_errors():
                print(to_json(content, indent=1), flush=True)


class _TaskLines:
    """When to print a line on a task's progress, and how long the rest may take."""

    def __init__(self, done: int) -> None:
        self._started_at = time.monotonic()
        self._done_at_start = done
        self._printed_at = float("-inf")

    def is_due(self, done: int, total: int) -> bool:
        """Return whether a line is due, and count it as printed if it is."""
        now = time.monotonic()
        due = done == total or now - self._printed_at > _LINE_SECONDS
        if due:
            self._printed_at = now
        return due

    def time_left(self, done: int, total: int) -> str:
        """Return ", 3 min left" at the speed so far; an empty text at the start and at the end."""
        progress, left = done - self._done_at_start, total - done
        if not progress or not left:
            return ""
        seconds = (time.monotonic() - self._started_at) / progress * left
        if seconds < 90:
            return f", {seconds:.0f} s left"
        return f", {seconds / 60:.0f} min left" if seconds < 5400 else f", {seconds / 3600:.1f} h left"


@contextmanager
def _full_disk_errors() -> Iterator[None]:
    """Raise FileError, which says what could not be written, if the output goes to a file on a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise FileError(f"cannot write the output: {error.strerror}; free some, or write it elsewhere") from None


def _unwrapped_width(column: str, rows: Sequence[Row]) -> int:
    """Return the width at which a title wraps between words only, and no cell wraps."""
    texts = column.split()
    for row in rows:
        texts.append(row[column])
    return max(map(cell_len, texts))


def _plain_lines(rows: Sequence[Row], left: int) -> list[str]:
    """Return titles and rows as lines of aligned columns, the first `left` columns aligned left."""
    lines = [""] * (len(rows) + 1)
    for number, column in enumerate(rows[0]):
        cells = [column]
        for row in rows:
            cells.append(row[column])
        width = max(map(cell_len, cells))
        for i, cell in enumerate(cells):
            padding = " " * (width - cell_len(cell))
            lines[i] += (cell + padding if number < left else padding + cell) + "  "
    return [line.rstrip() for line in lines]
