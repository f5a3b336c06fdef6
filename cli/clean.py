"""The clean command: delete what runs no longer need."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tinynas.experiment.clean import Cleaning, find_removable, remove
from tinynas.utils.errors import InputError
from tinynas.utils.units import format_bytes

from .options import AsJson
from .screen import Screen


def clean(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")],
    supernet: Annotated[
        bool,
        typer.Option("--supernet", help="Delete the supernet too; a search with other limits has to train it again."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be deleted, and delete nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Free disk space: delete checkpoints of finished trainings, and what can be computed again.

    Fronts, metrics, models, logs and reports stay, and so does everything that is unfinished or in use.
    """
    cleaning = find_removable(runs, supernet=supernet)
    if not yes and not dry_run and (as_json or not sys.stdin.isatty()):
        raise InputError("nobody can be asked here; add --yes to delete, or --dry-run to see what would be deleted")
    screen = Screen(as_json)
    _show(screen, cleaning)
    is_deleted = bool(cleaning.removable) and not dry_run and (yes or _is_confirmed())
    if is_deleted:
        remove(cleaning.removable)
        screen.note(f"deleted: {format_bytes(cleaning.bytes)} are free again")
    else:
        screen.note("nothing was deleted")
    if dry_run and cleaning.removable:
        options = ["--supernet"] if supernet else []
        screen.next_command("clean", *runs, *options)
    else:
        screen.next_command("runs", runs[0].parent)
    screen.document(
        {
            "files": [{"path": str(item.path), "bytes": item.bytes} for item in cleaning.removable],
            "bytes": cleaning.bytes,
            "deleted": is_deleted,
            "kept": cleaning.kept,
        }
    )


def _is_confirmed() -> bool:
    """Ask whether to delete, and return the answer; Ctrl-C and Ctrl-D are a no."""
    try:
        return typer.confirm("Delete them?")
    except typer.Abort:
        return False


def _show(screen: Screen, cleaning: Cleaning) -> None:
    """Show what can be deleted, and what is kept for which reason."""
    rows = []
    for item in cleaning.removable:
        rows.append({"file or folder": str(item.path), "size": format_bytes(item.bytes)})
    if rows:
        rows.append({"file or folder": "all", "size": format_bytes(cleaning.bytes)})
        screen.table("Not needed any more", rows)
    for line in cleaning.kept:
        screen.note(f"kept: {line}")
