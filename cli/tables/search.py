"""Tables of searches, retrainings and comparisons."""

from collections.abc import Collection, Mapping
from pathlib import Path

from tinynas.arch.cost import describe
from tinynas.arch.cost_names import cost_title, cost_word
from tinynas.arch.targets import find_target
from tinynas.experiment.comparison import ComparedPoint, Comparison
from tinynas.experiment.metric_names import column_title, format_metric, is_percent
from tinynas.experiment.results import FrontEntry, RetrainMetrics, SearchResult
from tinynas.utils.sizes import format_size
from tinynas.utils.text import counted

from ..screen import Screen
from .cells import (
    COST_TITLES,
    TARGET_TITLES,
    cost_cells,
    is_uneven,
    note_undrawable,
    percent,
    percent_with_error,
    warn_if_untrained,
)


def show_front(screen: Screen, run: Path, result: SearchResult) -> None:
    """Show the Pareto front of a search, its best network marked."""
    target = find_target(result.target)
    used = {target.sram, target.flash}.union(result.budget.limits(), result.objectives)
    known = result.best_entry.cost.named()
    shown = [name for name in TARGET_TITLES if name in used and name in known]
    rows = []
    for entry in result.front:
        row = {
            "": "best" if entry is result.best_entry else "",
            "resolution": format_size(entry.arch.resolution),
            f"search-val {column_title([result.metric])}": _value_with_error(result.metric, entry),
        } | cost_cells(entry.cost)
        for name in shown:
            row[TARGET_TITLES[name]] = describe(name, getattr(entry.cost, name))
        for name, value in entry.cost.own.items():
            row[cost_title(name, result.units)] = describe(name, value)
        rows.append(row)
    limits = result.budget.describe()
    title = f"Pareto front of {result.space} on {result.data} for {result.target}"
    if result.objectives != ("macs",):
        costs = [_title(name, result.units) for name in result.objectives]
        title += f" by {' and '.join([result.metric, *costs])}"
    how = "evaluated" if result.trained_epochs is None else f"trained for {counted(result.trained_epochs, 'epoch')}"
    title += f" ({limits}; {counted(result.evaluations, 'network')} {how})"
    screen.table(title, rows)
    best = result.best_entry.accuracy
    trained = "supernet" if result.trained_epochs is None else "networks"
    advice = f"check the labels, or train the {trained} for more --epochs or with another --lr"
    warn_if_untrained(screen, result.metric, best, result.chance, split="search-val", advice=advice)
    note_undrawable(screen, [result.space, result.data], instead="escapes")
    screen.note(f"written to {run}: front.json, evaluations.json, front.png, best.yaml")
    screen.next_command("retrain", run)


def _title(cost: str, units: Mapping[str, str]) -> str:
    """Return the title of a cost's column."""
    return TARGET_TITLES.get(cost) or COST_TITLES.get(cost) or cost_title(cost, units)


def _value_with_error(metric: str, entry: FrontEntry) -> str:
    """Return the value of a metric with its standard error, both without the unit, which is in the column's title."""
    if is_percent(metric):
        return percent_with_error(entry.accuracy, entry.standard_error)
    return _value(metric, entry.accuracy)


def _value(metric: str, value: float) -> str:
    """Return the value of a metric without its unit."""
    return percent(value) if is_percent(metric) else format_metric(metric, value)


def _unit(metrics: Collection[str]) -> str:
    """Return the unit of metrics: percentage points, unless one is a program's own function."""
    if all(map(is_percent, metrics)):
        return "percentage points"
    return " or ".join("percentage points" if is_percent(metric) else metric for metric in sorted(metrics))


def _value_with_deviation(metric: str, point: ComparedPoint) -> str:
    """Return the value of a metric, and its standard deviation over seeds: "89.20 ± 0.35 (3 seeds)"."""
    value = _value(metric, point.accuracy)
    return value if point.deviation is None else f"{value} ± {point.deviation:.2f} ({point.seeds} seeds)"


def show_differences(screen: Screen, comparison: Comparison) -> None:
    """Show how much more accurate networks are that were retrained in other ways than plain, if there are any."""
    rows = []
    for item in comparison.differences:
        interval = "one seed" if item.half is None else f"{item.mean - item.half:+.2f} to {item.mean + item.half:+.2f}"
        rows.append(
            {
                "series": item.kind,
                "name": item.name,
                "MACs (FLOPs)": describe("macs", item.macs),
                "difference to plain": f"{item.mean:+.2f}",
                "95% interval": interval,
                "beyond the seeds' spread": "yes" if item.is_beyond_spread else "-",
            }
        )
    if rows:
        title = "Differences to the same network retrained plain, in percentage points, paired by seed"
        screen.table(title, rows, left=2)


def show_metrics(screen: Screen, folder: Path, metrics: RetrainMetrics) -> None:
    """Show what a finished retraining measured."""
    row = {f"test {metrics.metric} %": percent(metrics.accuracy)}
    if is_uneven(metrics.chance):
        row["test balanced accuracy %"] = percent(metrics.balanced_accuracy)
    if metrics.ap50 is not None:
        row["test AP50 (COCO) %"] = percent(metrics.ap50)
    row[f"train {metrics.metric} %"] = percent(metrics.train_accuracy)
    row |= cost_cells(metrics.cost)
    row["seconds"] = f"{metrics.seconds:.0f}"
    screen.table(f"Retrained: {folder.name}", [row], left=0)
    advice = "check the labels, or train for more --epochs or with another --lr"
    warn_if_untrained(screen, metrics.metric, metrics.accuracy, metrics.chance, split="test", advice=advice)
    picture = ", detections.png" if metrics.detection is not None else ""
    screen.note(f"written to {folder}: model.safetensors, metrics.json, errors.json, README.md{picture}")


def show_comparison(screen: Screen, comparison: Comparison, plot: Path) -> None:
    """Show the Pareto fronts and retrained networks of runs; name and hypervolume stand in a series' first row."""
    metrics, data_sets = set(), set()
    for series in comparison.series:
        metrics.add(series.metric)
        data_sets.add(series.data)
    rows = []
    for series in comparison.series:
        name, volume = series.name, f"{series.hypervolume:.2f}"
        images = f"{series.data} {series.split}"
        if len(metrics) > 1:
            images += f", {series.metric}"
        for point in series.points:
            row = {"series": name, "name": point.name, "images": images}
            row[column_title(sorted(metrics))] = _value_with_deviation(series.metric, point)
            row |= cost_cells(point)
            for cost in comparison.costs:
                if cost not in COST_TITLES:
                    row[_title(cost, comparison.units)] = describe(cost, point.costs()[cost])
            row["hypervolume"] = volume
            rows.append(row)
            name, volume = "", ""
    screen.table("Comparison", rows, left=3)
    show_differences(screen, comparison)
    decades = []
    references = [" or ".join(format_metric(metric, value, digits=1) for metric, value in comparison.lowest.items())]
    for name, value in zip(comparison.costs, comparison.reference, strict=True):
        title = cost_title(name, comparison.units)
        decades.append(f"decades of {title}")
        references.append(f"{describe(name, value)} {title}" if name == "macs" else f"{title} {describe(name, value)}")
    screen.note(
        f"hypervolume: {_unit(metrics)} x {' x '.join(decades)} that a series dominates, "
        f"measured from {' and '.join(references)}"
    )
    if comparison.left_out:
        words = " or no known ".join(map(cost_word, comparison.costs))
        screen.note(f"left out, as their networks have no known {words}: {', '.join(comparison.left_out)}")
    if len(data_sets) > 1 or len(metrics) > 1:
        screen.note("accuracies on different data sets are not comparable")
    drawn = []
    for series in comparison.series:
        drawn += [series.name, series.data]
    note_undrawable(screen, drawn, instead="escapes")
    screen.note(f"plot written to {plot}")
