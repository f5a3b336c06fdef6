"""The report command: everything that runs hold, as one HTML page."""

from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, RunFolders
from .screen import Screen


def report(
    runs: RunFolders = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="HTML file to write. Default: report.html in the run, or here for several.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write an HTML page of runs: fronts, layers, training curves, errors, exported files, how to reproduce them.

    The page is one file, which a browser opens without a network.
    """
    from tinynas.experiment.report.page import write_report
    from tinynas.experiment.run_folder import FRONT, RunFolder
    from tinynas.experiment.runs import newest_run

    folders = runs or [newest_run(FRONT).path]
    out = out or RunFolder(folders[0] if len(folders) == 1 else Path()).report
    screen = Screen(as_json)
    write_report(folders, out)
    screen.note(f"report written to {out}: open it in a browser")
    if len(folders) == 1 and not RunFolder(folders[0]).retrainings():
        screen.next_command("retrain", folders[0])
    screen.document({"runs": [str(folder) for folder in folders], "report": str(out)})
