"""Tables: printed on the terminal, and written between the markers of a page of docs/results/."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import rich.table

from tinynas.utils.io import write

from .paths import PAGES


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of results.

    Attributes:
        page: Name of the page, without .md.
        name: Name in the page's markers, <!-- begin:NAME --> and <!-- end:NAME -->.
        columns: Headings.
        rows: Cells of each row, one for each column.
        caption: What a reader must know to read the table right.
    """

    page: str
    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    @property
    def path(self) -> Path:
        """The page's file."""
        return PAGES / f"{self.page}.md"

    def to_markdown(self) -> str:
        """Return the table, and its caption below it."""
        lines = [_markdown_row(self.columns), "|" + "---|" * len(self.columns)]
        for row in self.rows:
            lines.append(_markdown_row(row))
        if self.caption:
            lines += ["", self.caption]
        return "\n".join(lines) + "\n"

    def to_rich(self) -> rich.table.Table:
        """Return the table for a terminal."""
        table = rich.table.Table(title=self.name, title_justify="left", caption=self.caption, caption_justify="left")
        for column in self.columns:
            table.add_column(column)
        for row in self.rows:
            table.add_row(*row)
        return table


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- begin:{name} -->\n", f"<!-- end:{name} -->"


def table_on_page(table: Table) -> str:
    """Return what is between a table's markers on its page. Raises ValueError if the page does not have them once."""
    return _split(table.path.read_text(), table.name)[1]


def write_table(table: Table) -> None:
    """Replace what is between a table's markers on its page. Raises ValueError if the page does not have them once."""
    before, _, after = _split(table.path.read_text(), table.name)
    begin, end = _markers(table.name)
    write(table.path, before + begin + table.to_markdown() + end + after)


def _split(text: str, name: str) -> tuple[str, str, str]:
    """Return the text before, between and after the markers of a name."""
    begin, end = _markers(name)
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"the page must have the lines {begin.strip()} and {end} once; add them")
    before, rest = text.split(begin)
    between, after = rest.split(end)
    return before, between, after
