"""Who is told how a job gets on, and what of a training is told and logged."""

from typing import Any, Protocol

from ..training.progress import Progress


class Report(Protocol):
    """Who is told how a job gets on."""

    def note(self, text: str) -> None:
        """A line worth reading."""

    def advance(self, task: str, done: int, total: int, text: str) -> None:
        """`done` of `total` parts of the task, and how it stands."""


def advance(report: Report, task: str, progress: Progress) -> None:
    """Tell how a training gets on."""
    speed = f"{progress.batches_per_second:.1f} batches/s"
    text = f"epoch {progress.epoch}/{progress.epochs}, loss {progress.loss:.3f}, {speed}"
    report.advance(task, progress.step, progress.steps, text)


def record(progress: Progress) -> dict[str, Any]:
    """A training's line of log.jsonl."""
    return {
        "step": progress.step,
        "epoch": progress.epoch,
        "loss": progress.loss,
        "lr": progress.lr,
        "batches_per_second": progress.batches_per_second,
        "seconds": progress.seconds,
        "skipped": progress.skipped,
    }
