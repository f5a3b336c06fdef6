"""Latency tables: the time of every layer, measured on a user's board, as a CSV file."""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..utils.errors import FileError, some_names
from ..utils.io import json_digest, read_text, write
from ..utils.sizes import Size, format_size, size_of
from .arch import Arch
from .layers import Layer, layers_of, layers_of_space
from .operators import KINDS
from .space import SearchSpace

_TEXTS = ("kind", "act")  # columns that are no whole numbers
_TIME = "microseconds"
_COLUMNS = (*Layer._fields, _TIME)
_NO_ACT = "none"  # in a file
LONGEST = 1e12  # microseconds, some days


@dataclass(frozen=True, kw_only=True)
class LatencyTable:
    """The times of layers, which are added up for a network.

    Attributes:
        path: The file, for messages.
        microseconds: The time of each layer.
    """

    path: Path
    microseconds: Mapping[Layer, float]

    @classmethod
    def read(cls, path: Path) -> "LatencyTable":
        """Read a table.

        Raises:
            FileError: The file is missing, is not such a table, has a layer twice, or lacks a layer's time.
        """
        return cls(path=path, microseconds=_read_times(path))

    def seconds(self, arch: Arch) -> float:
        """Return the sum of the times of an arch's layers. Raises FileError if the table lacks one."""
        layers = layers_of(arch)
        try:
            return sum([self.microseconds[layer] for layer in layers]) / 1e6
        except KeyError:
            raise self._lacks(layers, "the network") from None

    def measure(self, arch: Arch) -> dict[str, float]:
        """Return the latency of an arch by name, in seconds. Raises FileError if the table lacks a layer."""
        return {"latency": self.seconds(arch)}

    def check_covers(self, space: SearchSpace, name: str) -> None:
        """Raise FileError unless the table has all layers of a space; the name is for the message."""
        layers = layers_of_space(space)
        if not self.microseconds.keys() >= set(layers):
            raise self._lacks(layers, f"{name} with {space.in_channels} input channels and {space.classes} classes")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the layers and times, in whatever order the file has them."""
        rows = [[*layer, time] for layer, time in self.microseconds.items()]
        return json_digest(sorted(rows))

    def _lacks(self, layers: Iterable[Layer], what: str) -> FileError:
        needed = dict.fromkeys(layers)
        missing = [layer.describe() for layer in needed if layer not in self.microseconds]
        return FileError(
            f"{self.path} lacks {len(missing)} of the {len(needed)} layers of {what}: {some_names(missing)}; add them, "
            "`tinynas layers` lists the layers of a space"
        )


def write_table(path: Path, layers: Iterable[Layer], times: Mapping[Layer, float]) -> None:
    """Write a table of layers; the cells of layers without a time, in microseconds, are empty.

    Raises:
        FileError: The file exists, as it may hold measurements, or cannot be written.
    """
    if path.exists():
        raise FileError(f"{path} exists and may hold measurements; choose another file, or delete it")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for layer in layers:
        cells = [value if isinstance(value, str) else format_size(value) for value in layer]
        cells[-1] = layer.act or _NO_ACT
        writer.writerow([*cells, f"{times[layer]:.6g}" if layer in times else ""])
    write(path, text.getvalue())


def read_rows(path: Path, columns: Iterable[str]) -> dict[int, dict[str, str]]:
    """Read the rows of a CSV file by the number of their line; cells that a row lacks are empty.

    Raises:
        FileError: The file cannot be read, is not CSV, lacks a column, or has no row.
    """
    reader = csv.DictReader(io.StringIO(read_text(path)), restval="", skipinitialspace=True)
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


def read_time(text: str) -> float | None:
    """Return a time in microseconds, or None if the text is no number from 0 to LONGEST."""
    try:
        time = float(text)
    except ValueError:
        return None
    return time if 0 <= time <= LONGEST else None


def _read_times(path: Path) -> dict[Layer, float]:
    times: dict[Layer, float] = {}
    lines: dict[Layer, int] = {}
    wrong: list[str] = []
    for line, row in read_rows(path, _COLUMNS).items():
        layer = _read_layer(row, f"{path}, line {line}")
        if layer in lines:
            raise FileError(f"{path}, line {line} repeats the layer of line {lines[layer]}; remove one of the two")
        lines[layer] = line
        time = read_time(row[_TIME])
        if time is None:
            wrong.append(f"line {line} ({layer.describe()}) has {row[_TIME]!r:.60}")
        else:
            times[layer] = time
    if wrong:
        raise FileError(
            f"{path} has no time in microseconds for {len(wrong)} of {len(lines)} layers: {some_names(wrong)}; "
            f"fill in numbers from 0 to {LONGEST:g}"
        )
    return times


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
