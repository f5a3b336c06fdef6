"""Compare runs: their Pareto fronts, their retrained networks, other image sizes and early exits."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..arch.cost import Cost
from ..utils.errors import FileError
from ..utils.io import write
from ..utils.pareto import Point, hypervolume
from .comparison import ComparedPoint, ComparedSeries, Comparison
from .early_exit_report import EarlyExitReport, ThresholdPoint
from .evaluation_report import EvaluationReport
from .metric_names import axis_label
from .plots import Series, pareto_plot
from .results import RetrainMetrics
from .run_folder import CASCADE, SIDENET, EarlyExitFolder, RunFolder


def compare_runs(runs: Sequence[Path], out: Path) -> Comparison:
    """Compare runs and plot them.

    A series is a Pareto front (accuracy on search-val, with the supernet's weights), the networks of a run retrained
    in one way (accuracy on test), a network at several image sizes, or one with early exits at several thresholds, its
    MACs those of an average image. Hypervolumes are measured from twice the largest MACs and the lowest accuracy of
    all points.

    Args:
        runs: Run folders.
        out: The PNG file to write.

    Raises:
        FileError: A run has nothing to compare, or one of its files is damaged.
    """
    series = []
    for path in runs:
        prefix = f"{path.resolve().name}: " if len(runs) > 1 else ""
        for item in _series_of(RunFolder(path)):
            series.append(replace(item, name=prefix + item.name))
    reference = _reference(series)
    measured = []
    for item in series:
        measured.append(replace(item, hypervolume=hypervolume(item.positions(), reference)))
    write(out, _plot(measured))
    return Comparison(series=tuple(measured), reference=reference)


def _reference(series: Sequence[ComparedSeries]) -> Point:
    """Return twice the largest MACs and the lowest accuracy of all points."""
    macs, accuracies = [], []
    for item in series:
        for point in item.points:
            macs.append(point.macs)
            accuracies.append(point.accuracy)
    return 2 * max(macs), min(accuracies)


def _plot(series: Sequence[ComparedSeries]) -> bytes:
    metric = " or ".join(dict.fromkeys(item.metric for item in series))
    title = f"{metric} over MACs".replace("accuracy", "Accuracy", 1)
    drawn = []
    for item in series:
        drawn.append(_plot_series(item))
    return pareto_plot(drawn, title=title, metric=axis_label([item.metric for item in series]))


def _plot_series(series: ComparedSeries) -> Series:
    """Return the series as it is drawn: accuracies are written beside points that no line joins."""
    label = f"{series.name} ({series.data} {series.split})"
    if series.line:
        return Series(label=label, points=series.positions(), line=True)
    marker = "*" if "NetAug" in series.name else "s"
    texts = [f"{point.accuracy:.1f}" for point in series.points]
    return Series(label=label, points=series.positions(), marker=marker, annotate=texts)


def _series_of(run: RunFolder) -> list[ComparedSeries]:
    series = _fronts(run) + _retrained(run)
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


def _fronts(run: RunFolder) -> list[ComparedSeries]:
    """Return the Pareto front of the newest search and those of searches with other limits."""
    series = []
    folders = run.fronts()
    for folder in folders:
        result = folder.read_front()
        points = []
        for entry in result.front:
            points.append(_point(entry.accuracy, entry.cost))
        series.append(
            ComparedSeries(
                name=f"searched ({result.budget.describe()})" if len(folders) > 1 else "searched",
                data=result.data,
                metric=result.metric,
                split="search-val",
                line=True,
                points=tuple(points),
            )
        )
    return series


def _retrained(run: RunFolder) -> list[ComparedSeries]:
    """Return a series for every way of retraining and every data set."""
    groups: dict[tuple[str, str, str], list[ComparedPoint]] = {}
    for name, metrics in run.read_metrics().items():
        key = _kind(metrics), metrics.data, metrics.metric
        groups.setdefault(key, []).append(_point(metrics.accuracy, metrics.cost, name))
    series = []
    for kind, data, metric in sorted(groups, key=_kind_length):
        points = tuple(groups[kind, data, metric])
        series.append(ComparedSeries(name=kind, data=data, metric=metric, split="test", line=False, points=points))
    return series


def _kind(metrics: RetrainMetrics) -> str:
    """Return how a network was retrained."""
    kind = "retrained"
    if metrics.netaug:
        kind += " + NetAug"
    if metrics.teacher:
        kind += " + teacher"
    return kind


def _kind_length(key: tuple[str, str, str]) -> int:
    """Order ways of retraining from plain to NetAug with a teacher: the longer the name, the more it has."""
    return len(key[0])


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
    name = f"{network} with exits at {', '.join(report.taps)}" if report.taps else f"{network} in a cascade"
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
                name=f"over {entry.threshold:.3g}",
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
    )
