"""Numbers of the report as text."""

from collections.abc import Callable, Mapping
from functools import partial

from ...arch.cost import BYTES, Cost, describe
from ...arch.cost_names import cost_title
from ..metric_names import format_metric

SHOWN_COSTS = ("macs", "params", "peak_sram", "flash")  # in every table of networks


def number(value: float) -> str:
    """Return a number in as few characters as tell it from its neighbours on an axis."""
    return f"{value:.4g}"


def cost_label(name: str) -> Callable[[float], str]:
    """Return what writes the values of a cost."""
    return partial(describe, name)


def log_base(name: str) -> int:
    """Return the base of the ticks of a cost on a logarithmic axis."""
    return 2 if name in BYTES else 10


def cost_rows(cost: Cost, units: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the title and the value of every cost that is known; counts also exactly."""
    rows = []
    for name, value in cost.named().items():
        text = describe(name, value)
        if isinstance(value, int) and f"{value:,}" != text.removesuffix("B"):
            text += f" ({value:,})"
        rows.append((cost_title(name, units), text))
    return rows


def accuracy_text(metric: str, value: float) -> str:
    """Return an accuracy with its metric."""
    return f"{metric} {format_metric(metric, value)}"
