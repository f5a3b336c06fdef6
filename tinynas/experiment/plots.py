"""Plots of accuracy over a cost and of SRAM by layer, as PNG files."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from math import floor, log10

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ..arch.cost import BYTES, describe
from ..arch.cost_names import cost_title
from ..arch.layer_cost import LayerCost
from ..utils.fonts import REGULAR, family_of, font_file, font_runs
from ..utils.pareto import Point, pareto_front

_SHORT_AXIS = 5  # times its lowest value that a log axis ends at, below which all ticks have labels
_MACS_LABEL = "MACs (multiply-accumulates; the FLOPs of mobile-NAS papers)"


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points that are drawn alike.

    Attributes:
        label: Its text in the legend.
        points: The cost, such as MACs, and the accuracy in percent of each network.
        line: Join the points on the Pareto front by steps.
        faint: Draw the points small and transparent.
        marker: Matplotlib's name of the marker.
        annotate: A text beside each point.
        deviations: Standard deviation of each point's accuracy, drawn as an error bar; 0 has none.
    """

    label: str
    points: Sequence[Point]
    line: bool = False
    faint: bool = False
    marker: str = "o"
    annotate: Sequence[str] = ()
    deviations: Sequence[float] = ()


def pareto_plot(
    series: Sequence[Series],
    *,
    title: str,
    budgets: Sequence[float] = (),
    metric: str = "accuracy (%)",
    cost: str = "macs",
    cost_label: str = "",
) -> bytes:
    """Plot accuracy over a cost as `pareto_figure` does, and return a PNG file."""
    figure = pareto_figure(series, title=title, budgets=budgets, metric=metric, cost=cost, cost_label=cost_label)
    return render(figure)


def pareto_figure(
    series: Sequence[Series],
    *,
    title: str,
    budgets: Sequence[float] = (),
    metric: str = "accuracy (%)",
    cost: str = "macs",
    cost_label: str = "",
) -> Figure:
    """Plot accuracy over a cost (log axis).

    Args:
        series: What is plotted; at least one of them has points.
        title: Title of the plot.
        budgets: Costs at which a vertical line is drawn.
        metric: Name of the metric, with its unit.
        cost: Name of the cost.
        cost_label: Label of its axis; by default that of a cost that tinynas counts.
    """
    figure = Figure(figsize=(7, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    costs: list[float] = []
    for number, item in enumerate(series):
        _draw(axes, item, f"C{number}")
        costs += [point[0] for point in item.points]
    set_axes(axes, costs, title=title, budgets=budgets, metric=metric, cost=cost, cost_label=cost_label)
    axes.legend(fontsize=8, loc="best")
    return figure


def set_axes(
    axes: Axes,
    costs: Sequence[float],
    *,
    title: str,
    budgets: Sequence[float],
    metric: str,
    cost: str,
    cost_label: str = "",
) -> None:
    """Set the limits, ticks and labels of axes for all costs that are drawn, and draw the budgets."""
    for budget in budgets:
        axes.axvline(budget, color="0.5", linestyle="--", linewidth=1, label=f"budget {describe(cost, budget)}")
    axes.set_xscale("log")
    axes.set_xlim(min(costs) / 1.4, max(max(costs), max(budgets, default=0)) * 1.4)
    set_cost_ticks(axes.xaxis, cost)
    axes.tick_params(axis="x", which="minor", labelsize=7)
    axes.set_xlabel(_MACS_LABEL if cost == "macs" else cost_label or cost_title(cost, {}))
    axes.set_ylabel(metric)
    axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.3)


def set_cost_ticks(axis: Axis, cost: str) -> None:
    """Set the ticks of a log axis of a cost; those of bytes are powers of two."""
    if cost in BYTES:
        axis.set_major_locator(LogLocator(base=2))
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(partial(_major_label, cost)))
    axis.set_minor_formatter(FuncFormatter(partial(_minor_label, axis, cost)))


def memory_plot(layers: Sequence[LayerCost], *, title: str) -> bytes:
    """Plot the int8 SRAM in use while each layer runs, for both memory models; layers at the peak are red.

    Args:
        layers: The layers in the order in which they run.
        title: Title of the plot.

    Returns:
        A PNG file.
    """
    figure = Figure(figsize=(7, 0.17 * len(layers) + 1.2), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    peak = max(layer.sram for layer in layers)
    names, inplace = [], []
    for row, layer in enumerate(layers):
        axes.barh(row, layer.sram / 1024, color="C3" if layer.sram == peak else "C0")
        names.append(layer.name)
        inplace.append(layer.sram_inplace_dw / 1024)
    axes.plot(inplace, range(len(layers)), "k|", markersize=6, label="depthwise convolutions in place, without scratch")
    axes.set_yticks(range(len(layers)), names)
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=6)
    axes.margins(y=0.01)
    axes.set_xlabel("KB")
    axes.set_title(title, fontsize=10)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize=7)
    return render(figure)


def render(figure: Figure) -> bytes:
    """Return a figure as a PNG file, its texts in fonts that have their characters and never read as formulas.

    Characters of a text that no installed font has are drawn as escapes such as \\u5706.
    """
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        set_fonts(text)
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def set_fonts(text: Text) -> None:
    """Have a text drawn in fonts that have its characters, escapes for those that no font has, and not as a formula."""
    text.set_parse_math(False)
    runs = font_runs(text.get_text())
    if runs:
        families = [family_of(font_file(REGULAR))]
        for run in runs:
            families.append(family_of(run.font))
        text.set_text("".join([run.text for run in runs]))
        text.set_fontfamily(families)


def _draw(axes: Axes, series: Series, color: str) -> None:
    if not series.points:
        return
    costs, accuracy = columns(series.points)
    alpha, size = (0.35, 14) if series.faint else (1.0, 36)
    label = f" {series.label}" if series.label.startswith("_") else series.label  # matplotlib leaves out "_..."
    axes.scatter(costs, accuracy, color=color, marker=series.marker, label=label, zorder=3, alpha=alpha, s=size)
    if series.line:
        steps_x, steps_y = columns(pareto_front(series.points))
        axes.step(steps_x, steps_y, where="post", color=color, linewidth=1.2)
    if any(series.deviations):
        axes.errorbar(costs, accuracy, yerr=series.deviations, fmt="none", ecolor=color, capsize=3, linewidth=1)
    for text, point in zip(series.annotate, series.points, strict=False):
        axes.annotate(text, (point[0], point[-1]), xytext=(7, -3), textcoords="offset points", fontsize=7)


def columns(points: Sequence[Point]) -> list[list[float]]:
    """Return the costs of the points, cost by cost, and as the last column the accuracies."""
    return [list(column) for column in zip(*points, strict=True)]


def _major_label(cost: str, value: float, position: int | None) -> str:
    return describe(cost, value)


def _minor_label(axis: Axis, cost: str, value: float, position: int | None) -> str:
    """Return the label of a minor tick on the log axis: on a long one only 2 and 5 of every decade have one."""
    low, high = axis.get_view_interval()
    leading = value / 10 ** floor(log10(value))
    return describe(cost, value) if high / low < _SHORT_AXIS or round(leading, 6) in (2, 5) else ""
