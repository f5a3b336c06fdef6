"""The table of a reproduction: the paper, here, and the difference."""

from pathlib import Path

from tinynas.experiment.reproduction_report import ReproductionReport

from ..screen import Screen


def show_reproduction(screen: Screen, run: Path, report: ReproductionReport) -> None:
    """Show what was measured beside what the authors publish, and what a reader must know."""
    screen.table(f"NetAug, {report.net}: the paper and here", report.rows(), left=4)
    for note in report.notes:
        screen.note(note)
    screen.note(f"written to {run}: reproduction.json, reproduction.md")
