"""The report of a run, written again by every command that adds to it."""

from pathlib import Path

from ..experiment.reporter import ProgressReporter
from ..experiment.run_folder import RunFolder
from ..utils.errors import TinyNASError


def update_report(run: Path, report: ProgressReporter) -> None:
    """Write a run's report.html. If that fails, a note says so: what the command was run for is done.

    Args:
        run: The run's folder.
        report: Receives messages.
    """
    from ..experiment.report.page import write_report  # imports matplotlib, which trainings begin without

    out = RunFolder(run).report
    try:
        write_report([run], out)
    except TinyNASError as error:
        report.note(f"the report was not written: {error}")
    else:
        report.note(f"report: {out}")


def update_report_with(folder: Path, report: ProgressReporter) -> None:
    """Write the report of the run that a retraining's folder, or a folder in it, belongs to; nothing if to none."""
    for path in (folder, folder.parent):
        if path.parent.name == "retrain":
            update_report(path.parent.parent, report)
            return
