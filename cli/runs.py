"""The runs command: what the runs of a folder hold."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tinynas.experiment.run_list import RunSummary, list_runs
from tinynas.experiment.runs import RUNS

from .options import AsJson
from .screen import Screen
from .tables.runs import show_runs


def runs(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Folder of runs, or a run.")] = RUNS,
    as_json: AsJson = False,
) -> None:
    """List the runs of a folder: data, limits, best networks, retrainings, and size on disk."""
    summaries = list_runs(folder)
    screen = Screen(as_json)
    if summaries:
        show_runs(screen, summaries)
        _show_next(screen, summaries)
    else:
        screen.note(f"there are no runs in {folder}")
        screen.next_command("quickstart")
    screen.document([summary.to_dict() for summary in summaries])


def _show_next(screen: Screen, summaries: Sequence[RunSummary]) -> None:
    """Show the command for the searched run that was written last: retrain its best network, or write its report."""
    searched = [summary for summary in summaries if summary.accuracy is not None]
    if not searched:
        return
    newest = max(searched, key=_modified_at)
    if newest.retrained:
        screen.next_report([newest.path])
    else:
        screen.next_command("retrain", newest.path)


def _modified_at(summary: RunSummary) -> str:
    return summary.modified_at
