"""Cells of tables: accuracies, costs, ranges."""

from typing import Protocol

from tinynas.arch.cost import describe

from ..screen import Row

COST_TITLES = {"macs": "MACs (FLOPs)", "params": "params", "peak_sram": "peak SRAM", "flash": "flash"}


class Costs(Protocol):
    """Anything with the four costs that tables show."""

    @property
    def macs(self) -> float:
        """Multiply-accumulates."""

    @property
    def params(self) -> int:
        """Parameters."""

    @property
    def peak_sram(self) -> int:
        """Bytes."""

    @property
    def flash(self) -> int:
        """Bytes."""


def cost_cells(costs: Costs) -> Row:
    """Return the four cells of a cost."""
    cells = {}
    for name, title in COST_TITLES.items():
        cells[title] = describe(name, getattr(costs, name))
    return cells


def percent(value: float | None) -> str:
    """Return an accuracy in percent, without the sign, which stands in the column's title; "-" if there is none."""
    return "-" if value is None else f"{value:.2f}"


def percent_with_error(value: float, error: float | None) -> str:
    """Return an accuracy and its standard error, if that is known: "81.20 ± 0.85"."""
    return percent(value) if error is None else f"{percent(value)} ± {error:.2f}"


def fraction(value: float) -> str:
    """Return a fraction between 0 and 1 as a percentage: 0.253 is "25.3%"."""
    return f"{100 * value:.1f}%"


def value_range(low: str, high: str) -> str:
    """Return "LOW to HIGH", or only LOW if they are equal."""
    return low if low == high else f"{low} to {high}"
