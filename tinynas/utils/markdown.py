"""Markdown that holds names of other people's files and classes."""

import re
from collections.abc import Mapping, Sequence

from .text import printable

_SPECIAL = re.compile(r"[\\`*_\[\]~$<>&|]")
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "|": "&#124;"}  # the others are escaped by a backslash


def escaped(text: str) -> str:
    r"""Return a text as one line of Markdown that shows it as it is, also in a cell of a table.

    Example:
        >>> print(escaped("a_b | <script>"))
        a\_b &#124; &lt;script&gt;
    """
    return _SPECIAL.sub(_escape, printable(text))


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return a table.

    Args:
        rows: At least one row of cells by the titles of their columns, all with the same columns. Titles and cells are
            Markdown.
    """
    titles = list(rows[0])
    lines = [_row(titles), _row(["---"] * len(titles))]
    for row in rows:
        lines.append(_row([row[title] for title in titles]))
    return "\n".join(lines)


def code_block(language: str, text: str) -> str:
    """Return lines of code as a fenced block. They hold no such fence."""
    return f"```{language}\n{text.rstrip()}\n```"


def replace_section(page: str, name: str, content: str) -> str:
    """Return a page with other content between the markers of a section, or with the section at its end.

    Args:
        page: The page.
        name: Name of the section, which is in the markers.
        content: What stands between them.
    """
    begin, end = f"<!-- begin:{name} -->", f"<!-- end:{name} -->"
    section = f"{begin}\n\n{content}\n\n{end}"
    before, found_begin, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if found_begin and found_end:
        return before + section + after
    return f"{page.rstrip()}\n\n{section}\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape(character: re.Match[str]) -> str:
    return _ENTITIES.get(character[0], "\\" + character[0])
