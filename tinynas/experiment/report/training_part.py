"""The report of trainings: their curves, and the retrained networks beside each other."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...arch.cost import describe
from ...arch.cost_names import cost_title
from ...utils.units import format_seconds
from ..finished import FinishedNetwork, differences, finished_networks
from ..log import records
from ..metric_names import axis_label, column_title, format_metric
from ..results import RetrainMetrics
from ..run_folder import RunFolder
from .blocks import Block, Cell, Drawing, Section, Table
from .chart import Axis, Chart, Mark, Series
from .formats import SHOWN_COSTS, number

_SUPERNET = "supernet"
_MOST_CURVES = 8  # retrainings whose curves are drawn, the newest
Logs = Mapping[str, Sequence[Mapping[str, Any]]]


def training_sections(run: RunFolder, prefix: str) -> list[Section]:
    """Return the curves of a run's trainings, and its finished retrainings; nothing if there is neither.

    Raises:
        FileError: A file of the run is damaged.
    """
    metrics = run.read_metrics()
    blocks: list[Block] = []
    if metrics:
        blocks.append(_retrained(metrics))
        blocks += _differences(finished_networks(run))
    blocks += training_curves(_logs(run, list(metrics)), [entry.metric for entry in metrics.values()])
    if not blocks:
        return []
    return [Section(title="Training", id=f"{prefix}training", blocks=blocks)]


def _logs(run: RunFolder, finished: Sequence[str]) -> Logs:
    """Return the epochs of the newest retrainings and of the supernet, by name."""
    logs = {}
    for name in finished[-_MOST_CURVES:]:
        log = run.retraining(name).log
        if log.exists():
            logs[name] = records(log)
    if run.log.exists():
        logs[_SUPERNET] = records(run.log)
    return logs


def training_curves(logs: Logs, metrics: Sequence[str]) -> list[Drawing]:
    """Return charts of the loss and of the accuracy on search-val, measured in these metrics, over the epochs."""
    charts = []
    for figure, title, label in (
        ("loss", "Loss on training images", "loss"),
        ("val_accuracy", "Accuracy on search-val while training", axis_label(metrics)),
    ):
        series = []
        for name, epochs in logs.items():
            marks = _curve(name, epochs, figure)
            if marks:
                series.append(Series(label=name, marks=marks, line="straight", dashed=name == _SUPERNET))
        if not series:
            continue
        values = [mark.y for item in series for mark in item.marks]
        last = max([mark.x for item in series for mark in item.marks])
        chart = Chart(
            title=title,
            x=Axis.around([0, last], "epoch", number, whole=True),
            y=Axis.around(values, label, number),
            series=series,
        )
        charts.append(Drawing(chart=chart))
    return charts


def _curve(name: str, epochs: Sequence[Mapping[str, Any]], figure: str) -> list[Mark]:
    """Return a figure of every epoch that has it."""
    marks = []
    for record in epochs:
        value, epoch = record.get(figure), record.get("epoch")
        if value is not None and epoch is not None:
            marks.append(Mark(x=epoch, y=value, text=f"{name}, epoch {epoch}\n{figure} {value:.4g}"))
    return marks


def _retrained(metrics: Mapping[str, RetrainMetrics]) -> Table:
    """Return the finished retrainings with their accuracies and costs; the most accurate is marked."""
    best = max(entry.accuracy for entry in metrics.values())
    named = [entry.metric for entry in metrics.values()]
    columns = ["retraining", f"test {column_title(named)}", f"train {column_title(named)}"]
    has_ap50 = any(entry.ap50 is not None for entry in metrics.values())
    if has_ap50:
        columns.append("test AP50 %")
    columns += [cost_title(name, {}) for name in SHOWN_COSTS] + ["epochs", "seed", "time"]
    rows: list[list[str | Cell]] = []
    for name, entry in metrics.items():
        accuracy = format_metric(entry.metric, entry.accuracy)
        row: list[str | Cell] = [name, Cell(text=accuracy, marked=len(metrics) > 1 and entry.accuracy == best)]
        row.append(format_metric(entry.metric, entry.train_accuracy))
        if has_ap50:
            row.append("" if entry.ap50 is None else f"{entry.ap50:.2f}%")
        costs = entry.cost.named()
        row += [describe(cost, costs[cost]) for cost in SHOWN_COSTS]
        rows.append([*row, str(entry.epochs), str(entry.seed), format_seconds(entry.seconds)])
    return Table(title="Retrained networks", columns=columns, rows=rows)


def _differences(finished: Sequence[FinishedNetwork]) -> list[Table]:
    """Return how much more accurate networks are than the same ones retrained plain."""
    rows = [[item.kind, item.name, str(item)] for item in differences(finished)]
    if not rows:
        return []
    return [Table(title="Beside the same network retrained plain", columns=["way", "name", "test accuracy"], rows=rows)]
