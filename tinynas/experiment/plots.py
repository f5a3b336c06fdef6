"""Accuracy-cost fronts: which networks are on them, how much they cover, and their pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from math import log10

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ..arch.layer_cost import LayerCost
from ..utils.pareto import Point, pareto_front
from ..utils.units import format_count


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points of one kind in a picture; `line` joins those on the front."""

    label: str
    points: Sequence[Point]
    line: bool = False
    faint: bool = False
    marker: str = "o"
    annotate: Sequence[str] = ()  # a text at each point


def picture(series: Sequence[Series], *, title: str, budgets: Sequence[float] = (), metric: str = "accuracy") -> bytes:
    """A PNG of accuracy, or another metric in percent, over MACs (log axis), each budget of MACs a vertical line."""
    figure = Figure(figsize=(7, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for i, one in enumerate(series):
        _draw(axes, one, f"C{i}")
    for budget in budgets:
        axes.axvline(budget, color="0.5", linestyle="--", linewidth=1, label=f"budget {format_count(budget)}")
    axes.set_xscale("log")
    macs = [m for one in series for m, _ in one.points]
    axes.set_xlim(min(macs) / 1.4, max([*macs, *budgets]) * 1.4)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_count(value)))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: _minor_label(value)))
    axes.tick_params(axis="x", which="minor", labelsize=7)
    axes.set_xlabel("MACs (multiply-accumulates; the FLOPs of mobile-NAS papers)")
    axes.set_ylabel(f"{metric} (%)")
    axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="best")
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def memory_picture(layers: Sequence[LayerCost], *, title: str) -> bytes:
    """A PNG of the int8 SRAM that is in use at every layer, in both models; the layer that sets the peak is red."""
    figure = Figure(figsize=(7, 0.17 * len(layers) + 1.2), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    peak = max(step.sram for step in layers)
    colors = ["C3" if step.sram == peak else "C0" for step in layers]
    axes.barh([step.name for step in layers], [step.sram / 1024 for step in layers], color=colors)
    inplace = [step.sram_inplace_dw / 1024 for step in layers]
    axes.plot(inplace, range(len(layers)), "k|", markersize=6, label="depthwise convolutions in place, without scratch")
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=6)
    axes.margins(y=0.01)
    axes.set_xlabel("KB")
    axes.set_title(title, fontsize=10)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize=7)
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw(axes: Axes, series: Series, color: str) -> None:
    if not series.points:
        return
    macs, accuracy = zip(*series.points, strict=True)
    style = {"alpha": 0.35, "s": 14} if series.faint else {"alpha": 1.0, "s": 36}
    axes.scatter(macs, accuracy, color=color, marker=series.marker, label=series.label, zorder=3, **style)  # type: ignore[arg-type]
    if series.line:
        steps = pareto_front(series.points)
        axes.step([m for m, _ in steps], [a for _, a in steps], where="post", color=color, linewidth=1.2)
    for text, point in zip(series.annotate, series.points, strict=False):
        axes.annotate(text, point, xytext=(7, -3), textcoords="offset points", fontsize=7)


def _minor_label(value: float) -> str:
    leading = value / 10 ** int(log10(value))
    return format_count(value) if round(leading, 6) in (2, 5) else ""
