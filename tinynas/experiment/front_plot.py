"""The picture of a search: accuracy over the cost of its front; of a front of two costs, the second as the colour."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from ..arch.cost import describe
from ..arch.cost_names import cost_title
from ..utils.pareto import Point, pareto_front
from .metric_names import axis_label
from .plots import Series, columns, pareto_figure, set_axes, set_cost_ticks
from .results import FrontEntry, SearchResult

_STEPS = 3  # values of the second cost for which the best networks are joined
_COLOURS = "viridis"
_SHORT = 45  # characters of a label, two of which fit side by side


@dataclass(frozen=True, kw_only=True)
class ColouredSeries:
    """Points of two costs that are drawn alike.

    Attributes:
        label: Its text in the legend.
        points: The two costs and the accuracy in percent of each network.
        faint: Draw the points small and transparent.
        marker: Matplotlib's name of the marker.
    """

    label: str
    points: Sequence[Point]
    faint: bool = False
    marker: str = "o"


def front_figure(result: SearchResult, evaluated: Sequence[FrontEntry]) -> Figure:
    """Plot the front of a search, and all networks that were evaluated.

    Args:
        result: The search.
        evaluated: All networks.

    Returns:
        A figure of accuracy on search-val over the first cost of the front; the second, if there is one, is the colour.
    """
    costs = result.objectives
    all_points = [entry.point(costs) for entry in evaluated]
    front = [entry.point(costs) for entry in result.front]
    title = f"{result.space} on {result.data}: subnets on search-val"
    limits = result.budget.limits()
    budgets = [limits[name] for name in (costs[0], f"min_{costs[0]}") if name in limits]
    labels = [cost_title(name, result.units) for name in costs]
    metric = axis_label([result.metric])
    if len(costs) > 1:
        series = [
            ColouredSeries(label="evaluated", points=all_points, faint=True),
            ColouredSeries(label="Pareto front", points=front),
        ]
        return coloured_figure(series, costs, labels, title=title, budgets=budgets, metric=metric)
    lines = [
        Series(label="evaluated", points=all_points, faint=True),
        Series(label="Pareto front", points=front, line=True),
    ]
    return pareto_figure(lines, title=title, budgets=budgets, metric=metric, cost=costs[0], cost_label=labels[0])


def coloured_figure(
    series: Sequence[ColouredSeries],
    costs: Sequence[str],
    labels: Sequence[str],
    *,
    title: str,
    budgets: Sequence[float] = (),
    metric: str = "accuracy (%)",
) -> Figure:
    """Plot accuracy over a first cost (log axis), with a second one as the colour (log scale).

    Lines join, for a few values of the second cost, the best networks that take no more of it.

    Args:
        series: What is plotted; at least one of them has points.
        costs: Names of the two costs.
        labels: Labels of their axes.
        title: Title of the plot.
        budgets: First costs at which a vertical line is drawn.
        metric: Name of the metric, with its unit.
    """
    figure = Figure(figsize=(8, 4.8), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    points = [point for item in series for point in item.points]
    first, second, _ = columns(points)
    norm = LogNorm(min(second), max(second) * (1.001 if min(second) == max(second) else 1))
    for item in series:
        if item.points:
            _scatter(axes, item, norm)
    _draw_steps(axes, pareto_front(points), norm, costs[1], labels[1])
    set_axes(axes, first, title=title, budgets=budgets, metric=metric, cost=costs[0], cost_label=labels[0])
    bar = figure.colorbar(ScalarMappable(norm, _COLOURS), ax=axes, label=labels[1])
    set_cost_ticks(bar.ax.yaxis, costs[1])
    bar.ax.tick_params(which="minor", labelsize=7)
    _draw_legend(figure)
    return figure


def _draw_legend(figure: Figure) -> None:
    """Draw the legend below the axes, where it covers no line's end; in two columns, unless labels are long."""
    legend = figure.legend(fontsize=8, loc="outside lower center")
    if max(len(text.get_text()) for text in legend.get_texts()) <= _SHORT:
        legend.set_ncols(2)


def _scatter(axes: Axes, series: ColouredSeries, norm: LogNorm) -> None:
    first, second, accuracies = columns(series.points)
    axes.scatter(
        first,
        accuracies,
        s=14 if series.faint else 46,
        c=second,
        norm=norm,
        cmap=_COLOURS,
        marker=series.marker,
        label=series.label,
        alpha=0.5 if series.faint else 1.0,
        linewidths=0.0 if series.faint else 0.8,
        edgecolors="none" if series.faint else "black",
        zorder=2 if series.faint else 3,
    )


def _draw_steps(axes: Axes, front: Sequence[Point], norm: LogNorm, cost: str, label: str) -> None:
    """Join the best networks within a few values of the second cost, spread evenly over those of the front.

    The lines go on to the largest first cost, the lower ones above the others.
    """
    right = max(point[0] for point in front)
    values = sorted({point[1] for point in front})
    chosen = sorted({values[round(i * (len(values) - 1) / _STEPS)] for i in range(1, _STEPS + 1)})
    for value in reversed(chosen):
        within = pareto_front([(first, accuracy) for first, second, accuracy in front if second <= value])
        steps_x, steps_y = columns(within)
        colour = colormaps[_COLOURS](norm(value))
        text = f"{label} at most {describe(cost, value)}"
        steps_x.append(right)
        steps_y.append(steps_y[-1])
        axes.step(steps_x, steps_y, where="post", color=colour, linewidth=1.3, label=text, zorder=1)
