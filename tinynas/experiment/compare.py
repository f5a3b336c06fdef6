"""Compare runs: their Pareto fronts, their retrained networks, other image sizes and early exits."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..arch.cost import Cost
from ..arch.cost_names import cost_title, cost_word
from ..utils.errors import FileError, InputError
from ..utils.io import write
from ..utils.pareto import Point
from ..utils.units import threshold_text
from .compared_costs import CostAxes
from .comparison import ComparedPoint, ComparedSeries, Comparison
from .early_exit_folder import CASCADE, SIDENET, EarlyExitFolder
from .early_exit_report import EarlyExitReport
from .evaluation_report import EvaluationReport
from .finished import FinishedNetwork, differences, finished_networks
from .front_plot import ColouredSeries, coloured_figure
from .metric_names import axis_label
from .plots import Series, columns, pareto_plot, render
from .results import SearchResult
from .run_folder import RunFolder
from .threshold_point import ThresholdPoint

_MARKERS = "osD^vPX*"
_NAMED = 2  # points of a line, at most, beside which their names are written


def compare_runs(runs: Sequence[Path], out: Path, *, costs: Sequence[str] | None = None) -> Comparison:
    """Compare runs as `compare` does, and write the plot to a PNG file.

    Raises:
        InputError: There is no such cost, it means different ones for the runs' targets, or no network has it.
        FileError: A run has nothing to compare, or one of its files is damaged.
    """
    comparison = compare(runs, costs=costs)
    write(out, _plot(comparison))
    return comparison


def compare(runs: Sequence[Path], *, costs: Sequence[str] | None = None) -> Comparison:
    """Compare runs.

    A series is a Pareto front (accuracy on search-val, with the supernet's weights) of all networks that a search has
    evaluated, the networks of a run retrained in one way (accuracy on test), a network at several image sizes, or one
    with early exits at several thresholds, its MACs those of an average image. Hypervolumes are measured from twice the
    largest costs of all points, and the lowest accuracy of those of the same metric. Of networks retrained in several
    ways, they count those that are retrained in all of them, with settings that are otherwise alike.

    Args:
        runs: Run folders.
        costs: One cost or two, as `tinynas search --pareto` takes them. None: those of the fronts of the newest
            searches, if they are the same; MACs otherwise.

    Raises:
        InputError: There is no such cost, it means different ones for the runs' targets, or no network has it.
        FileError: A run has nothing to compare, or one of its files is damaged.
    """
    folders = [RunFolder(path) for path in runs]
    axes = CostAxes.of_runs(folders, costs)
    series, left_out, differing = [], [], []
    for run in folders:
        prefix = f"{run.path.resolve().name}: " if len(runs) > 1 else ""
        finished = finished_networks(run)
        for difference in differences(finished):
            differing.append(replace(difference, kind=prefix + difference.kind))
        for item in _series_of(run, finished, axes):
            named = replace(item.with_costs(axes.costs), name=prefix + item.name)
            if named.points:
                series.append(named)
            else:
                left_out.append(named.name)
    if not series:
        words = " and a known ".join(map(cost_word, axes.costs))
        raise InputError(f"no network has a known {words}; choose another cost")
    reference, lowest = _references(series, axes.costs)
    measured = []
    for item in series:
        volume = item.dominated(axes.costs, (*reference, lowest[item.metric]))
        measured.append(replace(item, hypervolume=volume))
    return Comparison(
        series=tuple(measured),
        differences=tuple(differing),
        reference=reference,
        lowest=lowest,
        costs=axes.costs,
        units=axes.units,
        left_out=tuple(left_out),
    )


def _references(series: Sequence[ComparedSeries], costs: Sequence[str]) -> tuple[Point, dict[str, float]]:
    """Return twice the largest costs of all points, and the lowest accuracy of each metric."""
    points: list[Point] = []
    lowest: dict[str, float] = {}
    for item in series:
        positions = item.positions(costs)
        points += positions
        for position in positions:
            lowest[item.metric] = min(position[-1], lowest.get(item.metric, position[-1]))
    largest = [2 * max(column) for column in columns(points)[:-1]]
    return tuple(largest), lowest


def _plot(comparison: Comparison) -> bytes:
    series, costs = comparison.series, comparison.costs
    metric = " or ".join(dict.fromkeys(item.metric for item in series))
    metric_label = axis_label([item.metric for item in series])
    titles = [cost_title(name, comparison.units) for name in costs]
    if len(costs) > 1:
        coloured = []
        for number, item in enumerate(series):
            label = f"{item.name} ({item.data} {item.split})"
            marker = _MARKERS[number % len(_MARKERS)]
            coloured.append(ColouredSeries(label=label, points=item.positions(costs), marker=marker))
        title = f"{metric} over two costs".replace("accuracy", "Accuracy", 1)
        return render(coloured_figure(coloured, costs, titles, title=title, metric=metric_label))
    title = f"{metric} over {titles[0]}".replace("accuracy", "Accuracy", 1)
    drawn = [_plot_series(item, costs) for item in series]
    return pareto_plot(drawn, title=title, metric=metric_label, cost=costs[0], cost_label=titles[0])


def _plot_series(series: ComparedSeries, costs: Sequence[str]) -> Series:
    """Return the series as it is drawn: accuracies are written beside points that no line joins."""
    label = f"{series.name} ({series.data} {series.split})"
    marker = "*" if "NetAug" in series.name else "s" if series.split == "test" else "o"
    if series.line:
        deviations = [point.deviation or 0.0 for point in series.points]
        names = [point.name for point in series.points] if len(series.points) <= _NAMED else []
        return Series(
            label=label,
            points=series.positions(costs),
            line=True,
            marker=marker,
            annotate=names,
            deviations=deviations,
        )
    texts = [f"{point.accuracy:.1f}" for point in series.points]
    return Series(label=label, points=series.positions(costs), marker=marker, annotate=texts)


def _series_of(run: RunFolder, finished: Sequence[FinishedNetwork], axes: CostAxes) -> list[ComparedSeries]:
    series = _fronts(run, axes) + _retrained(run, finished, axes)
    for retraining in run.retrainings():
        report = retraining.read_resolutions()
        if report:
            series.append(_resized(retraining.name, report))
    for retraining in run.retrainings():
        for folder in retraining.early_exits():
            series += _early_exits(folder, retraining.name)
    if not series:
        raise FileError(f"nothing to compare in {run.path}: it has no front.json and no finished retraining")
    return series


def _fronts(run: RunFolder, axes: CostAxes) -> list[ComparedSeries]:
    """Return the Pareto fronts of the newest search and of others; without networks if their costs are not known."""
    series = []
    folders = run.fronts()
    for folder in folders:
        result = folder.read_front()
        points = []
        for entry in axes.front_of(folder.read_evaluations()):
            points.append(_point(entry.accuracy, entry.cost))
        series.append(
            ComparedSeries(
                name=f"searched ({_search_name(result)})" if len(folders) > 1 else "searched",
                data=result.data,
                metric=result.metric,
                split="search-val",
                line=True,
                points=tuple(points),
            )
        )
    return series


def _search_name(result: SearchResult) -> str:
    """Return what tells a search of a run from the others."""
    front = "" if result.objectives == ("macs",) else f", front of {' and '.join(map(cost_word, result.objectives))}"
    return result.budget.describe() + front


def _retrained(run: RunFolder, finished: Sequence[FinishedNetwork], axes: CostAxes) -> list[ComparedSeries]:
    """Return a series for every way of retraining and every data set."""
    groups: dict[tuple[str, str, str], list[ComparedPoint]] = {}
    for network in finished:
        cost = axes.complete(network.cost, run, network.folder)
        point = replace(
            _point(network.accuracy, cost, network.name),
            network=network.network,
            settings=network.shared,
            deviation=network.deviation,
            seeds=len(network.accuracies),
        )
        groups.setdefault((network.kind, network.data, network.metric), []).append(point)
    series = []
    for (kind, data, metric), networks in groups.items():
        others = [other for key, other in groups.items() if key[1:] == (data, metric)]
        points = _measured_alike(networks, others)
        line = len({point.network for point in points}) > 1
        series.append(
            ComparedSeries(name=kind, data=data, metric=metric, split="test", line=line, points=tuple(points))
        )
    return series


def _measured_alike(points: Sequence[ComparedPoint], series: Sequence[Sequence[ComparedPoint]]) -> list[ComparedPoint]:
    """Return points of which those count whose networks and settings are in all series; all if there are none.

    Args:
        points: Points of one of the series.
        series: Points of all series.
    """
    common = {(point.network, point.settings) for point in points}
    for others in series:
        common &= {(point.network, point.settings) for point in others}
    alike = []
    for point in points:
        counts = not common or (point.network, point.settings) in common
        alike.append(replace(point, is_measured=counts))
    return alike


def _resized(network: str, report: EvaluationReport) -> ComparedSeries:
    """Return the series of a network that was evaluated at several image sizes."""
    points = []
    for resolution, evaluation in report.resolutions.items():
        points.append(_point(evaluation.accuracy, evaluation.cost, f"{resolution} px"))
    return ComparedSeries(
        name=f"{network} at other sizes",
        data=report.data,
        metric=report.metric,
        split="test",
        line=True,
        points=tuple(points),
    )


def _early_exits(folder: EarlyExitFolder, network: str) -> list[ComparedSeries]:
    """Return the series of a network with early exits at several thresholds, and of its int8 files if it has any."""
    report, export = folder.read_report(), folder.read_export()
    name = f"{network} {report.in_comparison}"
    if folder.name not in (SIDENET, CASCADE):
        name += f" ({folder.name})"
    series = [_thresholds(name, report, report.points)]
    for form in export.forms if export else ():
        if form.points:  # of int8 files; the fp32 files compute what torch does
            series.append(_thresholds(f"{name}, int8", report, form.points))
    return series


def _thresholds(name: str, report: EarlyExitReport, entries: Sequence[ThresholdPoint]) -> ComparedSeries:
    points = []
    for entry in entries:
        points.append(
            ComparedPoint(
                accuracy=entry.accuracy,
                macs=entry.macs,
                params=report.worst_case.params,
                peak_sram=report.worst_case.peak_sram,
                flash=report.worst_case.flash,
                name=f"over {threshold_text(entry.thresholds)}",
            )
        )
    return ComparedSeries(
        name=name, data=report.data, metric=report.metric, split="test", line=True, points=tuple(points)
    )


def _point(accuracy: float, cost: Cost, name: str = "") -> ComparedPoint:
    return ComparedPoint(
        accuracy=accuracy,
        macs=cost.macs,
        params=cost.params,
        peak_sram=cost.peak_sram,
        flash=cost.flash,
        name=name,
        others=cost.named(),
    )
