"""Trackers show a search or a training live: TensorBoard, MLflow, Weights & Biases. All receive the same figures.

A tracker has one run for each training, and for each search of a run folder: the folder's trackers.json has its ids.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from ..utils.errors import InputError, unknown
from ..utils.io import read_json, write_json
from ..utils.quiet import logging_disabled
from ..utils.text import first_line

TRAINING = ""  # figures of a training, whose steps are those of the optimizer
SEARCH = "search"  # figures of a search, whose steps are the networks that were evaluated or dropped

FINISHED, FAILED, KILLED = "FINISHED", "FAILED", "KILLED"  # the words of MLflow


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """What a tracker shows as one run.

    Attributes:
        folder: The folder of the run or retraining.
        ids: The file in it that keeps the ids of trackers' runs.
        name: What the tracker calls it.
        group: Name of the run folder, which a search and its retrainings share.
        command: "search" or "retrain".
        identity: What tells it from other tracked runs of the folder.
        settings: All settings, resolved; mappings may be nested.
        last_step: Steps that have been trained before.
    """

    folder: Path
    ids: Path
    name: str
    group: str
    command: str
    identity: str
    settings: Mapping[str, Any]
    last_step: int = 0


class Tracker(Protocol):
    """Writes the settings and figures of one run to a program that shows them."""

    def start(self, run: TrackedRun, run_id: str | None) -> str | None:
        """Start a run, or continue the one of this id, if it is still there.

        Returns:
            Its id; None if the tracker has none.
        """

    def address(self) -> str:
        """Return where the run is shown, and by which command, for one line of text."""

    def add(self, figures: Mapping[str, float], *, step: int, of: str) -> None:
        """Write figures at a step of `TRAINING` or `SEARCH`."""

    def finish(self, figures: Mapping[str, float], files: Sequence[Path], *, status: str) -> None:
        """Write the figures and files that the run ends with, and end it."""


@dataclass(frozen=True)
class TrackerKind:
    """A tracker that can be named: how messages call it, the module with its class, and how a failed start is mended.

    The package that it needs, the class's module and the extra that installs the package are named after it.
    """

    title: str
    class_name: str
    advice: str = "check the folder of the run"


TRACKERS = {
    "tensorboard": TrackerKind("TensorBoard", "TensorBoardTracker"),
    "mlflow": TrackerKind("MLflow", "MLflowTracker", "check MLFLOW_TRACKING_URI"),
    "wandb": TrackerKind("W&B", "WandbTracker", "log in with `wandb login`, or set WANDB_MODE=offline"),
}


def check_trackers(names: Sequence[str]) -> None:
    """Raise InputError if a tracker is unknown or not installed."""
    for name in names:
        if name not in TRACKERS:
            raise unknown("tracker", name, TRACKERS)
        if not find_spec(name):
            raise InputError(f"--track {name} needs the package {name}: pip install 'tinynas[{name}]'")


def _ignore(text: str) -> None:
    """Do not show a message."""


class Trackers:
    """All trackers of a run. One that fails once it has started is left out, and what it tracks goes on.

    Without names, and until it is started, it writes nothing. It is a context manager, which ends the run: as finished
    if `conclude` was called, else as failed or killed.

    Args:
        names: Names of `TRACKERS`.
        note: Shows a line.
    """

    def __init__(self, names: Sequence[str] = (), *, note: Callable[[str], None] = _ignore) -> None:
        self._names = names
        self._note = note
        self._running: dict[str, Tracker] = {}
        self._figures: dict[str, float] = {}
        self._files: list[Path] = []

    def start(self, run: TrackedRun) -> None:
        """Start a run in every tracker, or continue the one that the folder's trackers.json names.

        Raises:
            InputError: A tracker cannot start, such as that its server cannot be reached.
            FileError: trackers.json is damaged or cannot be written.
        """
        advice = "delete it to start new runs in the trackers"
        ids = read_json(run.ids, advice=advice) if run.ids.exists() else {}
        for name in self._names:
            kind = TRACKERS[name]
            of_tracker = ids.get(name, {})
            try:
                with logging_disabled(logging.INFO), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    tracker: Tracker = getattr(import_module(f".{name}_tracker", __package__), kind.class_name)()
                    run_id = tracker.start(run, of_tracker.get(run.identity))
            except Exception as error:
                reason = first_line(str(error)) or type(error).__name__
                raise InputError(f"--track {name} cannot start: {reason}; {kind.advice}") from None
            self._running[name] = tracker
            if run_id:
                ids[name] = {**of_tracker, run.identity: run_id}
            self._note(f"tracked in {kind.title}: {tracker.address()}")
        if ids:
            write_json(run.ids, ids)

    def add(self, figures: Mapping[str, float | None], *, step: int, of: str = TRAINING) -> None:
        """Write figures at a step; None stands for one that is missing.

        Args:
            figures: The figures by name.
            step: Step of the training, or number of networks.
            of: `TRAINING` or `SEARCH`, which then stands before the names.
        """
        prefix = f"{of}/" if of else ""
        known = {prefix + name: value for name, value in figures.items() if value is not None}
        for name, tracker in list(self._running.items()):
            with self._left_out_if_it_fails(name):
                tracker.add(known, step=step, of=of)

    def conclude(self, figures: Mapping[str, float], files: Sequence[Path]) -> None:
        """Set what the run ends with: figures by name, and files, which the tracker keeps a copy of."""
        self._figures = dict(figures)
        self._files = list(files)

    def __enter__(self) -> Trackers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        status = FINISHED
        if kind is not None:
            status = FAILED if issubclass(kind, Exception) else KILLED
        for name, tracker in list(self._running.items()):
            with self._left_out_if_it_fails(name):
                tracker.finish(self._figures, self._files, status=status)
        self._running.clear()

    @contextmanager
    def _left_out_if_it_fails(self, name: str) -> Iterator[None]:
        """Leave a tracker out from now on, and say so, if the body raises an exception."""
        try:
            yield
        except Exception as error:
            del self._running[name]
            reason = first_line(str(error)) or type(error).__name__
            self._note(f"{TRACKERS[name].title} failed and tracks no longer: {reason}")


def figures_in(plain: Mapping[str, Any], prefix: str) -> dict[str, float]:
    """Return the numbers among the values of a mapping, with a prefix before their names.

    Example:
        >>> figures_in({"accuracy": 91.5, "netaug": True, "data": "digits"}, "final/")
        {'final/accuracy': 91.5}
    """
    figures = {}
    for name, value in plain.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            figures[prefix + name] = float(value)
    return figures


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the settings of nested mappings, their names joined by dots.

    Example:
        >>> dict(flat({"data": "digits", "recipe": {"lr": 0.1}}))
        {'data': 'digits', 'recipe.lr': 0.1}
    """
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
