"""What the user sees: rich tables and progress on a terminal, plain lines in a pipe, one JSON document with --json."""

import json
import os
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

_LINE_SECONDS = 10.0  # between two lines of progress in a pipe


class Screen:
    """Where a command writes. With `as_json`, stdout takes only the document and everything else goes to stderr."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.quiet = os.environ.get("RANK", "0") != "0"  # another process of torchrun's speaks
        self.console = Console(stderr=as_json, highlight=False, soft_wrap=True, quiet=self.quiet)
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._line_at: dict[str, float] = {}
        self._began: dict[str, tuple[float, int]] = {}  # when, and how much was done then

    def __enter__(self) -> "Screen":
        if self.console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[text]}"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._progress:
            self._progress.stop()

    def note(self, text: str) -> None:
        """A line."""
        self.console.print(text, markup=False)

    def advance(self, task: str, done: int, total: int, text: str) -> None:
        """A task's progress bar; in a pipe a line at its start, every ten seconds, and at its end."""
        if self._progress:
            if task not in self._tasks:
                self._tasks[task] = self._progress.add_task(task, total=total, text=text)
            self._progress.update(self._tasks[task], completed=done, text=text)
            return
        now = time.monotonic()
        began, first = self._began.setdefault(task, (now, done))
        if done == total or now - self._line_at.get(task, float("-inf")) > _LINE_SECONDS:
            self._line_at[task] = now
            self.note(f"{task} {done}/{total}: {text}{_time_left(now - began, done - first, total - done)}")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
        """A table, unless JSON was asked for; the first `left` columns are words, the others figures."""
        if self.as_json:
            return
        if self.console.is_terminal:
            shown = Table(title=title, title_justify="left")
            for i, column in enumerate(columns):
                shown.add_column(column, justify="left" if i < left else "right", no_wrap=True)
            for row in rows:
                shown.add_row(*row)
            self.console.print(shown)
            return
        widths = [max(len(cell) for cell in cells) for cells in zip(columns, *rows, strict=True)]
        self.note(title)
        for row in (columns, *rows):
            cells = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
            self.note("  ".join(cells).rstrip())

    def document(self, content: Any) -> None:
        """The command's result, if it was asked for as JSON."""
        if self.as_json and not self.quiet:
            print(json.dumps(content, indent=1))


def _time_left(seconds: float, done: int, left: int) -> str:
    """How long the rest takes, if it goes on as it did: ", 3 min left"; nothing before that can be told."""
    if not done or not left:
        return ""
    estimate = seconds / done * left
    if estimate < 90:
        return f", {estimate:.0f} s left"
    return f", {estimate / 60:.0f} min left" if estimate < 5400 else f", {estimate / 3600:.1f} h left"
