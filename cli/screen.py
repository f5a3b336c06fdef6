"""Output of commands: tables and progress bars on a terminal, plain lines in a pipe, one JSON document with --json."""

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import JustifyMethod
from rich.measure import Measurement
from rich.table import Table

from tinynas.experiment.progress_screen import ProgressScreen, full_disk_errors
from tinynas.utils.io import to_json
from tinynas.utils.text import printable

Row = dict[str, str]  # a table's cells by the titles of their columns


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
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        for number, column in enumerate(rows[0]):
            justify: JustifyMethod = "left" if number < left else "right"
            table.add_column(column, justify=justify, min_width=_unwrapped_width(column, rows))
        for row in rows:
            table.add_row(*row.values())
        width = max(self.console.width, Measurement.get(self.console, self.console.options, table).minimum)
        with full_disk_errors():
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
            with full_disk_errors():
                print(to_json(content, indent=1), flush=True)


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
