"""Table of the recipes that were tried for a network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..screen import Row, Screen
from .cells import percent

_SHOWN = 10


class Tried(Protocol):
    """A recipe that was tried."""

    @property
    def values(self) -> Mapping[str, Any]:
        """Its settings, by path."""

    @property
    def accuracy(self) -> float | None:
        """On search-val, in percent; None if it diverged."""

    @property
    def epochs(self) -> int:
        """How many epochs were trained."""

    @property
    def is_complete(self) -> bool:
        """Whether that were all."""


def show_recipes(screen: Screen, run: Path, recipe: Path, tried: Sequence[Tried]) -> None:
    """Show the best recipes that were tried for a network of a run, and what to do with the file of the best."""
    title = f"Recipes tried: {len(tried)}" + (f", the best {_SHOWN}" if len(tried) > _SHOWN else "")
    screen.table(title, [_row(item) for item in tried[:_SHOWN]])
    screen.note(f"written to {recipe}: the best recipe")
    screen.note(
        "its accuracy on search-val is the best of many, and so a little too high; test images were not looked at"
    )
    screen.next_command("retrain", run, "--config", recipe)


def _row(tried: Tried) -> Row:
    row = {"search-val accuracy %": percent(tried.accuracy), "epochs": str(tried.epochs)}
    for path, value in sorted(tried.values.items()):
        name = path.rpartition(".")[2]
        row[name] = f"{value:.3g}" if isinstance(value, float) else str(value)
    return row
