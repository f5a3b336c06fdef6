"""Output of commands: tables and progress bars on a terminal, plain lines in a pipe, one JSON document with --json."""

import shlex
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import JustifyMethod
from rich.table import Table

from tinynas.experiment.progress_screen import ProgressScreen, full_disk_errors
from tinynas.utils.io import to_json
from tinynas.utils.paths import is_on_hub
from tinynas.utils.text import printable

Row = dict[str, str]  # a table's cells by the titles of their columns

_REPEATED = 2 / 3  # of the terminal's width that columns take at most that stand in every part of a wide table


class Screen(ProgressScreen):
    """Output of a command: progress, tables, and one JSON document.

    Args:
        as_json: Write only the JSON document to stdout, and everything else to stderr.
    """

    def __init__(self, as_json: bool = False) -> None:
        super().__init__(stderr=as_json)
        self.as_json = as_json

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
        widths = {column: _unwrapped_width(column, rows) for column in rows[0]}
        words = list(widths)[:left]
        for number, columns in enumerate(_parts(widths, left, self.console.width)):
            part = [{column: row[column] for column in columns} for row in rows]
            self._print_part(part, words=words, title=title if number == 0 else None)

    def _print_part(self, rows: Sequence[Row], *, words: Sequence[str], title: str | None) -> None:
        """Print a table, its columns of words aligned left; on a narrow terminal titles wrap, then gaps shrink."""
        widths = {column: max(cell_len(column), _unwrapped_width(column, rows)) for column in rows[0]}
        padding = 1
        if _table_width(widths, padding) > self.console.width:
            widths = {column: _unwrapped_width(column, rows) for column in rows[0]}
            padding = 1 if _table_width(widths, padding) <= self.console.width else 0
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, padding))
        for column, width in widths.items():
            justify: JustifyMethod = "left" if column in words else "right"
            table.add_column(column, justify=justify, min_width=width, max_width=width)
        for row in rows:
            table.add_row(*row.values())
        with full_disk_errors():
            self.console.print(table, crop=False)

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

    def next_command(self, *words: str | Path) -> None:
        """Show which command makes sense next, quoted for a shell, unless the output is JSON.

        Args:
            *words: Its words after "tinynas"; files that it names exist.
        """
        if not self.as_json:
            self.note(f"next: tinynas {shlex.join(map(str, words))}")

    def next_export(self, model: Path, data: str | None = None) -> None:
        """Show how a model is exported: as TFLite files if what they need is installed, otherwise as ONNX files.

        Args:
            model: Its file or folder, or its name on the Hub; of that one files are written to a folder of its name.
            data: The data set that the command was given, if it was.
        """
        words = ["export", str(model)]
        if data is not None:
            words += ["--data", data]
        if not (find_spec("ai_edge_litert") and find_spec("flatbuffers")):
            words += ["--to", "onnx"]
        if is_on_hub(str(model)):
            words += ["--out", model.name.partition("@")[0]]
        self.next_command(*words)

    def next_report(self, runs: Sequence[Path]) -> None:
        """Show how a report of runs is written."""
        self.next_command("report", *runs)

    def document(self, content: Any) -> None:
        """Print the command's result as JSON, if --json is set."""
        if self.as_json and not self.quiet:
            with full_disk_errors():
                print(to_json(content, indent=1), flush=True)


def _unwrapped_width(column: str, rows: Sequence[Row]) -> int:
    """Return the width at which a title wraps between words only, and no cell wraps."""
    texts = column.split()
    for row in rows:
        texts.append(row[column])
    return max(map(cell_len, texts))


def _table_width(widths: Mapping[str, int], padding: int) -> int:
    """Return the width of a table on a terminal, with a blank between padded columns and at both edges."""
    return sum(widths.values()) + (len(widths) - 1) * (1 + 2 * padding) + 2


def _parts(widths: Mapping[str, int], left: int, room: int) -> list[list[str]]:
    """Return the columns of parts of a table that fit a terminal below one another: one part if all columns fit.

    Args:
        widths: Those of the columns by their titles.
        left: How many of the first columns say what a row is about: every part begins with those that leave room.
        room: The terminal's width.
    """

    def width(columns: list[str]) -> int:
        return _table_width({column: widths[column] for column in columns}, 0)

    columns = list(widths)
    if width(columns) <= room:
        return [columns]
    repeated = 1
    while repeated < left and width(columns[: repeated + 1]) <= _REPEATED * room:
        repeated += 1
    parts = [columns[: repeated + 1]]
    for column in columns[repeated + 1 :]:
        if width(parts[-1] + [column]) > room:
            parts.append(columns[:repeated])
        parts[-1].append(column)
    return parts


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
