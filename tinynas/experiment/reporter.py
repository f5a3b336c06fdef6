"""Progress reporting: what long-running functions report to, and how a training is reported and logged."""

from typing import Any, Protocol

from ..training.progress import Progress


class ProgressReporter(Protocol):
    """Receives messages and progress while a pipeline runs."""

    def note(self, text: str) -> None:
        """Show a message of one line."""

    def advance(self, task: str, done: int, total: int, text: str) -> None:
        """Show that `done` of `total` parts of a task are complete, with its state as text."""


class NullReporter:
    """A `ProgressReporter` that shows nothing."""

    def note(self, text: str) -> None:
        """Ignore the message."""

    def advance(self, task: str, done: int, total: int, text: str) -> None:
        """Ignore the progress."""


class NotesOnce:
    """A `ProgressReporter` that shows every message once: trainings on the same data begin with the same ones.

    Args:
        report: Receives messages and progress.
    """

    def __init__(self, report: ProgressReporter) -> None:
        self._report = report
        self._shown: set[str] = set()

    def note(self, text: str) -> None:
        """Show a message of one line, unless it has been shown."""
        if text not in self._shown:
            self._shown.add(text)
            self._report.note(text)

    def advance(self, task: str, done: int, total: int, text: str) -> None:
        """Show the progress of a task."""
        self._report.advance(task, done, total, text)


def log_progress(reporter: ProgressReporter, task: str, progress: Progress) -> None:
    """Report the progress of a training under the name `task`."""
    loss = "-" if progress.loss is None else f"{progress.loss:.3f}"
    text = f"epoch {progress.epoch}/{progress.epochs}, loss {loss}, {progress.batches_per_second:.1f} batches/s"
    if progress.skipped:
        text += f", {progress.skipped} of {progress.step} steps skipped (loss or gradient not finite)"
    reporter.advance(task, progress.step, progress.steps, text)


def log_record(progress: Progress) -> dict[str, Any]:
    """Return the line of log.jsonl for the progress of a training."""
    return {
        "step": progress.step,
        "epoch": progress.epoch,
        "loss": progress.loss,
        "lr": progress.lr,
        "batches_per_second": progress.batches_per_second,
        "seconds": progress.seconds,
        "skipped": progress.skipped,
    }
