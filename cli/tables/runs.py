"""The table of runs."""

from collections.abc import Sequence

from tinynas.arch.cost import describe
from tinynas.experiment.card_parts import without_folders
from tinynas.experiment.metric_names import format_metric
from tinynas.experiment.run_list import RunSummary
from tinynas.utils.units import format_bytes

from ..screen import Row, Screen


def show_runs(screen: Screen, summaries: Sequence[RunSummary]) -> None:
    """Show the runs of a folder, then what is wrong with those that cannot be read."""
    rows = []
    for summary in summaries:
        rows.append(_row(summary))
    screen.table(f"Runs: {len(rows)}", rows, left=4)
    for summary in summaries:
        if summary.problem:
            screen.note(f"{summary.path.name}: {summary.problem}")


def _row(summary: RunSummary) -> Row:
    metric = summary.metric or "accuracy"
    retrained = str(summary.retrained or "-")
    if summary.unfinished:
        retrained = f"{summary.retrained}, {summary.unfinished} not finished"
    return {
        "run": summary.path.name,
        "state": summary.state,
        "data": without_folders(summary.data) if summary.data else "-",
        "limits": summary.limits or "-",
        "search-val": "-" if summary.accuracy is None else format_metric(metric, summary.accuracy),
        "MACs (FLOPs)": "-" if summary.macs is None else describe("macs", summary.macs),
        "retrained": retrained,
        "best on test": "-" if summary.best_retrained is None else format_metric("accuracy", summary.best_retrained),
        "size": format_bytes(summary.bytes),
        "written": summary.modified_at,
    }
