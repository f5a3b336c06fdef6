"""What a report consists of: sections of blocks, which the template draws by their kind. Charts are in `chart.py`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from .chart import Chart


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a table with more than a text.

    Attributes:
        text: Its text.
        bar: Length of a bar behind the text, as a fraction of the cell.
        shade: How dark the cell is, 0 to 1.
        marked: Whether it stands out, such as the largest of its column.
    """

    text: str
    bar: float | None = None
    shade: float = 0.0
    marked: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; its first column names the rows.

    Attributes:
        title: Its title.
        columns: Titles of the columns; empty for none.
        rows: Cells of each row.
        note: What there is to know besides.
        matrix: Whether it is a matrix of small cells.
    """

    kind: ClassVar[str] = "table"
    title: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str | Cell]]
    note: str = ""
    matrix: bool = False


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture.

    Attributes:
        source: A PNG file in base64.
        caption: What it shows.
        pixels: Whether its pixels are enlarged.
    """

    source: str
    caption: str = ""
    pixels: bool = False


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Pictures side by side."""

    kind: ClassVar[str] = "pictures"
    title: str
    pictures: Sequence[Picture]


@dataclass(frozen=True, kw_only=True)
class Code:
    """A text that is shown as it is: commands, or the content of a file, which is folded away."""

    kind: ClassVar[str] = "code"
    title: str
    text: str
    folded: bool = False


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A chart."""

    kind: ClassVar[str] = "chart"
    chart: Chart


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A part of the page that is shown when a point of a chart is clicked."""

    id: str
    title: str
    blocks: Sequence["Block"]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Panels of which one is shown."""

    kind: ClassVar[str] = "choice"
    panels: Sequence[Panel]
    chosen: str


Block = Table | Pictures | Code | Drawing | Choice


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the report with a title of its own.

    Attributes:
        title: Its title.
        id: What links name it by.
        text: A sentence below the title.
        blocks: Its content.
        level: 1 for a run, 2 for a part of it.
    """

    title: str
    id: str
    text: str = ""
    blocks: Sequence[Block] = field(default_factory=list)
    level: int = 2
