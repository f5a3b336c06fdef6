"""The report as an HTML page: one file that requests nothing, for browsers and paper."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from ...arch.cost_names import cost_title
from ...utils.errors import FileError, InputError
from ...utils.io import write
from ...utils.units import format_count
from ..compare import compare
from ..comparison import ComparedPoint, ComparedSeries, Comparison
from ..finished import FinishedNetwork, finished_networks
from ..metric_names import axis_label, format_metric
from ..retrain_folder import RetrainFolder
from ..run_folder import RunFolder
from .blocks import Block, Drawing, Section, Table
from .chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, Chart, Mark, Series
from .formats import accuracy_text, cost_label, log_base, number
from .model_part import model_sections
from .reproduce_part import reproduce_section
from .search_part import search_sections
from .training_part import training_sections

_TEMPLATES = "templates"
_MOST_IN_DETAIL = 8  # retrained networks


def write_report(runs: Sequence[Path], out: Path) -> None:
    """Write the report of runs as one HTML file.

    Args:
        runs: Run folders.
        out: The file.

    Raises:
        FileError: A run has nothing to show, one of its files is damaged, or the file cannot be written.
    """
    write(out, render_report(runs).encode())


def render_report(runs: Sequence[Path]) -> str:
    """Return the report of runs as HTML.

    Args:
        runs: Run folders.

    Returns:
        A page that contains its style sheet, script, charts and pictures, and refers to no other file.

    Raises:
        FileError: A run has nothing to show, or one of its files is damaged.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    folders = [RunFolder(path) for path in runs]
    sections = [_comparison_section(folders)]
    for order, run in enumerate(folders, 1):
        sections += _run_sections(run, f"run{order}-")
    loader = PackageLoader("tinynas.experiment.report", _TEMPLATES)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    resources = files("tinynas.experiment.report").joinpath(_TEMPLATES)
    names = [_name(run) for run in folders]
    return environment.get_template("report.html").render(
        title=", ".join(names),
        sections=sections,
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        top=TOP,
        bottom=HEIGHT - BOTTOM,
        style=resources.joinpath("report.css").read_text(encoding="utf-8"),
        script=resources.joinpath("report.js").read_text(encoding="utf-8"),
    )


def _name(run: RunFolder) -> str:
    return run.path.resolve().name


def _run_sections(run: RunFolder, prefix: str) -> list[Section]:
    """Return everything of one run."""
    networks = finished_networks(run)
    in_detail = _most_accurate(networks)
    sections = [_overview(run, networks, prefix)]
    sections += search_sections(run, prefix)
    sections += training_sections(run, prefix)
    for folder in in_detail:
        sections += model_sections(folder, prefix)
    sections.append(reproduce_section(run, in_detail, prefix))
    return sections


def _most_accurate(networks: Sequence[FinishedNetwork]) -> list[RetrainFolder]:
    """Return the folders of the most accurate networks, of several seeds that of the first, in their order."""
    shown = sorted(networks, key=_mean_accuracy, reverse=True)[:_MOST_IN_DETAIL]
    return [network.folder for network in networks if network in shown]


def _mean_accuracy(network: FinishedNetwork) -> float:
    return network.accuracy


def _overview(run: RunFolder, networks: Sequence[FinishedNetwork], prefix: str) -> Section:
    """Return the most important figures of a run."""
    rows = []
    if run.front.exists():
        result = run.read_front()
        best = result.best_entry
        rows += [
            ["data", result.data],
            ["search space", result.space],
            ["target", result.target],
            ["limits", result.budget.describe()],
            ["networks evaluated", str(result.evaluations)],
            ["best on search-val", accuracy_text(result.metric, best.accuracy)],
            ["its MACs and parameters", f"{format_count(best.cost.macs)}, {format_count(best.cost.params)}"],
        ]
    if networks:
        best_retrained = max(networks, key=_mean_accuracy)
        if not run.front.exists():
            metrics = best_retrained.folder.read_metrics()
            rows += [["data", metrics.data], ["initial weights", metrics.init]]
        rows += [
            ["networks retrained", str(len(networks))],
            ["best on the test split", _retrained_text(best_retrained)],
        ]
    return Section(title=f"Run {_name(run)}", id=f"{prefix}run", blocks=[Table(rows=rows)], level=1)


def _retrained_text(network: FinishedNetwork) -> str:
    text = f"{accuracy_text(network.metric, network.accuracy)}, {network.name}"
    return text if network.deviation is None else f"{text}, mean of {len(network.accuracies)} seeds"


def _comparison_section(runs: Sequence[RunFolder]) -> Section:
    """Return all fronts and retrained networks of the runs in one chart and table."""
    try:
        comparison = compare([run.path for run in runs])
    except InputError as error:
        raise FileError(f"there is nothing to report: {error}") from None
    return Section(
        title="At a glance",
        id="overview",
        text="Accuracies of searched networks are measured on search-val, those of retrained ones on the test split: "
        "the two cannot be compared with each other.",
        blocks=[_comparison_chart(comparison), _comparison_table(comparison)],
    )


def _comparison_chart(comparison: Comparison) -> Block:
    cost = comparison.costs[0]
    series = []
    for item in comparison.series:
        marks = []
        for point in sorted(item.points, key=_macs):
            title = " ".join([item.name, point.name]).strip()
            text = f"{title}\n{item.split} {accuracy_text(item.metric, point.accuracy)}"
            x = point.costs()[cost]
            text += f"\n{cost_title(cost, comparison.units)} {cost_label(cost)(x)}"
            marks.append(Mark(x=x, y=point.accuracy, text=text, deviation=point.deviation or 0.0))
        series.append(Series(label=_label(item), marks=marks, line="straight" if item.line else ""))
    values = [mark for item in series for mark in item.marks]
    title = cost_title(cost, comparison.units)
    chart = Chart(
        title=f"Accuracy over {title}",
        x=Axis.around([mark.x for mark in values], title, cost_label(cost), log=log_base(cost)),
        y=Axis.around([mark.y for mark in values], axis_label([item.metric for item in comparison.series]), number),
        series=series,
    )
    return Drawing(chart=chart)


def _macs(point: ComparedPoint) -> float:
    return point.macs


def _label(series: ComparedSeries) -> str:
    return f"{series.name} ({series.data} {series.split})"


def _comparison_table(comparison: Comparison) -> Table:
    """Return the most accurate network of every series."""
    cost = comparison.costs[0]
    rows = []
    for item in comparison.series:
        best = max(item.points, key=_accuracy)
        accuracy = format_metric(item.metric, best.accuracy)
        if best.deviation is not None:
            accuracy += f" ± {best.deviation:.2f} ({best.seeds} seeds)"
        rows.append([_label(item), str(len(item.points)), accuracy, cost_label(cost)(best.costs()[cost])])
    columns = ["", "points", "best", f"its {cost_title(cost, comparison.units)}"]
    return Table(columns=columns, rows=rows)


def _accuracy(point: ComparedPoint) -> float:
    return point.accuracy
