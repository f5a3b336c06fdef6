"""Cost tables: what every layer takes, such as its time on a user's board, as a CSV file. A network takes the sum.

The last column of the file, after those of the layers, names the cost and its unit: "energy (uJ)". The column
"microseconds" is the latency; such a table is called a latency table.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..utils.errors import FileError, InputError, some_names
from ..utils.io import json_digest, read_text, write
from ..utils.sizes import Size, format_size, size_of
from .arch import Arch
from .cost_names import check_own_name
from .layers import Layer, layers_of, layers_of_space
from .operators import KINDS
from .space import SearchSpace

TIME = "microseconds"  # the column of a latency table
_TEXTS = ("kind", "act")  # columns that are no whole numbers
_NO_ACT = "none"  # in a file
_HEADER = re.compile(r"(?P<name>\w+) \((?P<unit>[^()]+)\)")
LONGEST = 1e12  # microseconds, some days; and the largest value of another cost


@dataclass(frozen=True, kw_only=True)
class CostTable:
    """The costs of layers, which are added up for a network; can be used as `MeasuredCosts`.

    Attributes:
        path: The file, for messages.
        column: Title of the column of the values.
        values: The value of each layer, in the unit of the column.
    """

    path: Path
    column: str = TIME
    values: Mapping[Layer, float]

    @classmethod
    def read(cls, path: Path, *, column: str | None = None) -> "CostTable":
        """Read a table.

        Args:
            path: The file.
            column: Title of the column of the values; by default the first that is named like "energy (uJ)", or is
                "microseconds".

        Raises:
            FileError: The file is missing, is not such a table, has a layer twice, or lacks a layer's value.
        """
        column = column or _value_column(path)
        return cls(path=path, column=column, values=_read_values(path, column))

    @property
    def cost(self) -> str:
        """Name of the cost: "latency", or one of the user's own."""
        return "latency" if self.column == TIME else split_column(self.column)[0]

    @property
    def unit(self) -> str:
        """Unit of the values of the user's own cost."""
        return "" if self.column == TIME else split_column(self.column)[1]

    def total(self, arch: Arch) -> float:
        """Return the sum of the values of an arch's layers. Raises FileError if the table lacks one."""
        layers = layers_of(arch)
        try:
            return sum([self.values[layer] for layer in layers])
        except KeyError:
            raise self._lacks(layers, "the network") from None

    def measure(self, arch: Arch) -> dict[str, float]:
        """Return the cost of an arch by name; latency in seconds. Raises FileError if the table lacks a layer."""
        return {self.cost: self.total(arch) / 1e6 if self.cost == "latency" else self.total(arch)}

    def check_covers(self, space: SearchSpace, name: str) -> None:
        """Raise FileError unless the table has all layers of a space; the name is for the message."""
        layers = layers_of_space(space)
        if not self.values.keys() >= set(layers):
            raise self._lacks(layers, f"{name} with {space.in_channels} input channels and {space.classes} classes")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the layers and values, in whatever order the file has them; of another cost its column as well."""
        rows = sorted([[*layer, value] for layer, value in self.values.items()])
        return json_digest(rows if self.column == TIME else [self.column, rows])

    def _lacks(self, layers: Iterable[Layer], what: str) -> FileError:
        needed = dict.fromkeys(layers)
        missing = [layer.describe() for layer in needed if layer not in self.values]
        return FileError(
            f"{self.path} lacks {len(missing)} of the {len(needed)} layers of {what}: {some_names(missing)}; add them, "
            "`tinynas layers` lists the layers of a space"
        )


def split_column(column: str) -> tuple[str, str]:
    """Return the name and the unit of a cost of the user's own from the title of its column.

    Raises:
        InputError: The title is not a name and a unit, or the name is taken.

    Example:
        >>> split_column("energy (uJ)")
        ('energy', 'uJ')
    """
    match = _HEADER.fullmatch(column)
    if not match:
        raise InputError(f"a column of costs must be titled like 'energy (uJ)', but is {column!r:.60}")
    check_own_name(match["name"], f"column {column!r}")
    return match["name"], match["unit"]


def write_table(path: Path, layers: Iterable[Layer], values: Mapping[Layer, float], *, column: str = TIME) -> None:
    """Write a table of layers; the cells of layers without a value are empty.

    Raises:
        FileError: The file exists, as it may hold measurements, or cannot be written.
    """
    if path.exists():
        raise FileError(f"{path} exists and may hold measurements; choose another file, or delete it")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*Layer._fields, column])
    for layer in layers:
        cells = [value if isinstance(value, str) else format_size(value) for value in layer]
        cells[-1] = layer.act or _NO_ACT
        writer.writerow([*cells, f"{values[layer]:.6g}" if layer in values else ""])
    write(path, text.getvalue())


def read_rows(path: Path, columns: Iterable[str]) -> dict[int, dict[str, str]]:
    """Read the rows of a CSV file by the number of their line; cells that a row lacks are empty.

    Raises:
        FileError: The file cannot be read, is not CSV, lacks a column, or has no row.
    """
    reader = _reader(path)
    rows: dict[int, dict[str, str]] = {}
    try:
        for column in columns:
            if column not in (reader.fieldnames or ()):
                raise FileError(
                    f"{path} lacks the column {column!r}; its first line must name {','.join(columns)}, "
                    "separated by commas"
                )
        for row in reader:
            rows[reader.line_num] = row
    except csv.Error as error:
        raise FileError(f"{path}, line {reader.line_num} is not CSV: {error}; fix the file") from None
    if not rows:
        raise FileError(f"{path} has no rows; add a line for each measurement")
    return rows


def _reader(path: Path) -> "csv.DictReader[str]":
    return csv.DictReader(io.StringIO(read_text(path)), restval="", skipinitialspace=True)


def _value_column(path: Path) -> str:
    """Return the title of a table's column of values. Raises FileError if it has none."""
    try:
        titles = [title for title in _reader(path).fieldnames or () if title not in Layer._fields]
    except csv.Error as error:
        raise FileError(f"{path}, line 1 is not CSV: {error}; fix the file") from None
    for title in titles:
        if title == TIME or _HEADER.fullmatch(title):
            return title
    raise FileError(
        f"{path} has no column of a cost; after {Layer._fields[-1]} its first line must name the cost and its unit, "
        f"like 'energy (uJ)', or {TIME}, but has {some_names([repr(title) for title in titles]) or 'nothing'}"
    )


def read_time(text: str) -> float | None:
    """Return a time in microseconds, or None if the text is no number from 0 to LONGEST."""
    try:
        time = float(text)
    except ValueError:
        return None
    return time if 0 <= time <= LONGEST else None


def _read_values(path: Path, column: str) -> dict[Layer, float]:
    values: dict[Layer, float] = {}
    lines: dict[Layer, int] = {}
    wrong: list[str] = []
    for line, row in read_rows(path, [*Layer._fields, column]).items():
        layer = _read_layer(row, f"{path}, line {line}")
        if layer in lines:
            raise FileError(f"{path}, line {line} repeats the layer of line {lines[layer]}; remove one of the two")
        lines[layer] = line
        value = read_time(row[column])
        if value is None:
            wrong.append(f"line {line} ({layer.describe()}) has {row[column]!r:.60}")
        else:
            values[layer] = value
    if wrong:
        what = "time in microseconds" if column == TIME else column
        raise FileError(
            f"{path} has no {what} for {len(wrong)} of {len(lines)} layers: {some_names(wrong)}; "
            f"fill in numbers from 0 to {LONGEST:g}"
        )
    return values


def _read_layer(row: Mapping[str, str], where: str) -> Layer:
    if row["kind"] not in KINDS:
        raise FileError(f"{where}: kind must be one of {', '.join(KINDS)}, but is {row['kind']!r:.60}; fix the file")
    act = "" if row["act"] == _NO_ACT else row["act"]
    numbers: dict[str, Any] = {}
    for column in Layer._fields:
        if column not in _TEXTS:
            numbers[column] = _size(row[column], f"{where}: {column}")
    return Layer(kind=row["kind"], act=act, **numbers)


def _size(text: str, what: str) -> Size:
    """Return a number, or the height and the width that a text such as 96x160 names."""
    height, separator, width = text.partition("x")
    if not separator:
        return _whole_number(text, what)
    return size_of((_whole_number(height, what), _whole_number(width, what)))


def _whole_number(text: str, what: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise FileError(f"{what} must be a whole number of at least 1, but is {text!r:.60}; fix the file")
    return number
