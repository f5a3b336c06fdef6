"""Options that name trackers: programs that show a search or a training live."""

from collections.abc import Sequence
from typing import Annotated

import typer

from tinynas.experiment.trackers import check_trackers

_PANEL = "Training"
TensorBoard = Annotated[
    bool,
    typer.Option(
        "--tensorboard", rich_help_panel=_PANEL, show_default=False, help="Write scalars for TensorBoard as well."
    ),
]
Track = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="TRACKER",
        rich_help_panel=_PANEL,
        show_default=False,
        help="Show settings and figures live in mlflow, wandb or tensorboard as well; may be repeated.",
    ),
]


def trackers_named(track: Sequence[str] | None, *, tensorboard: bool) -> tuple[str, ...]:
    """Return the names of all trackers, each once. Raises InputError if one is unknown or not installed."""
    names = list(track or [])
    if tensorboard:
        names.append("tensorboard")
    check_trackers(names)
    return tuple(dict.fromkeys(names))
