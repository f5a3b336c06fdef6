"""Progress of long-running functions: bars on a terminal, plain lines in a pipe and in a notebook."""

import errno
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from ..utils.errors import FileError
from ..utils.text import printable
from ..utils.torchrun import is_silent_rank

_LINE_SECONDS = 10.0  # between two lines of progress in a pipe
_BAR_WIDTHS = range(8, 25)  # of a progress bar in columns; where there is room for less there is none


class ProgressScreen:
    """A `ProgressReporter` that shows messages and progress. As a context manager it shows bars on a terminal.

    Under torchrun only the first process shows anything.

    Args:
        stderr: Write to stderr instead of stdout.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        self.quiet = is_silent_rank()
        self.console = Console(
            stderr=stderr,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=True,
            quiet=self.quiet,
            force_jupyter=False,
            force_terminal=False if Console().is_jupyter else None,  # in a notebook plain lines, of one output
        )
        self._progress: Progress | None = None
        self._bars: dict[str, TaskID] = {}  # by task
        self._lines: dict[str, _TaskLines] = {}

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._progress = _Bars(self.console)
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._progress:
            self._progress.stop()

    def note(self, text: str) -> None:
        """Print a line."""
        with full_disk_errors():
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


class _Bars(Progress):
    """Progress bars, one line a task: its name, a bar, the count, the time left, and its text.

    Where the terminal is too narrow for all, the bars shrink, then there are none, then the texts are cut at their end,
    and only then the names.

    Args:
        console: Where they are shown.
    """

    def __init__(self, console: Console) -> None:
        self._name = TextColumn("{task.description}", markup=False)
        self._bar = BarColumn()
        self._count = MofNCompleteColumn()
        self._time_left = TimeRemainingColumn()
        self._text = TextColumn("{task.fields[text]}", markup=False)
        self._widest_text = 0  # so far: bars do not follow every digit
        self._terminal = console  # Progress asks for the table before it has a console
        super().__init__(console=console)

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """Return the lines of the tasks, at most as wide as the console."""
        tasks = list(tasks)
        self._widest_text = max(self._widest_text, self._width(self._text, tasks))
        room = self._terminal.width - self._width(self._count, tasks) - self._width(self._time_left, tasks) - 2
        self._name.get_table_column().max_width = max(room, 1)
        room -= self._width(self._name, tasks) + 1  # for the text
        self._text.get_table_column().max_width = max(room, 1)
        self._bar.bar_width = min(room - self._widest_text - 1, _BAR_WIDTHS[-1])
        columns: list[ProgressColumn] = [self._name, self._count, self._time_left]
        if self._bar.bar_width in _BAR_WIDTHS:
            columns.insert(1, self._bar)
        if room > 0:
            columns.append(self._text)
        self.columns = tuple(columns)
        return super().make_tasks_table(tasks)

    def _width(self, column: ProgressColumn, tasks: Sequence[Task]) -> int:
        """Return the width of the widest cell of a column."""
        widths = [Measurement.get(self._terminal, self._terminal.options, column(task)).maximum for task in tasks]
        return max(widths, default=0)


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
def full_disk_errors() -> Iterator[None]:
    """Raise FileError, which says what could not be written, if the output goes to a file on a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise FileError(f"cannot write the output: {error.strerror}; free some, or write it elsewhere") from None
