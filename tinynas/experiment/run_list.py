"""What the runs of a folder hold, in a few figures of each."""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..utils.errors import FileError, TinyNASError
from ..utils.io import folder_size
from .results import RetrainMetrics, SearchResult
from .run_folder import RunFolder
from .runs import is_run
from .saved import read_config

_FORMAT = "%Y-%m-%d %H:%M"


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A run in a few figures.

    Attributes:
        path: Its folder.
        state: "searched", "retrained" or "not finished"; "damaged" or "not a run" of a folder that cannot be read.
        problem: What is wrong with it, if that is known.
        data: Name of the data set.
        limits: Limits of the newest search, as text.
        metric: What accuracies are measured as.
        accuracy: Of the best network of the search, on search-val, in percent.
        macs: Of that network.
        retrained: How many retrainings have finished.
        unfinished: How many have begun, but not finished.
        best_retrained: The highest accuracy of a retrained network on the test split, in percent.
        bytes: Size on disk.
        modified_at: When the newest of its files was written, as local time.
    """

    path: Path
    state: str
    problem: str | None = None
    data: str | None = None
    limits: str | None = None
    metric: str | None = None
    accuracy: float | None = None
    macs: float | None = None
    retrained: int = 0
    unfinished: int = 0
    best_retrained: float | None = None
    bytes: int = 0
    modified_at: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {**asdict(self), "path": str(self.path)}


def list_runs(folder: Path) -> list[RunSummary]:
    """Return what the runs in a folder hold, in the order of their names; of a folder that is a run, that run.

    Raises:
        FileError: There is no such folder.
    """
    if not folder.is_dir():
        raise FileError(f"there is no folder {folder}; `tinynas search` creates runs in runs/")
    if is_run(RunFolder(folder)):
        return [summarise_run(folder)]
    summaries = []
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            summaries.append(summarise_run(path))
    return summaries


def summarise_run(path: Path) -> RunSummary:
    """Return what a run holds; of a folder that is damaged, or no run, what is wrong with it."""
    size, modified_at = folder_size(path)
    when = time.strftime(_FORMAT, time.localtime(modified_at or path.stat().st_mtime))
    summary = RunSummary(path=path, state="not a run", bytes=size, modified_at=when)
    run = RunFolder(path)
    if not is_run(run):
        return summary
    try:
        return _with_figures(summary, run)
    except TinyNASError as error:
        return replace(summary, state="damaged", problem=str(error))


def _with_figures(summary: RunSummary, run: RunFolder) -> RunSummary:
    """Return a summary with what a search and retrainings have written. Raises FileError if that is damaged."""
    front = run.read_front() if run.front.exists() else None
    if front is not None:
        summary = _with_front(summary, front)
    elif run.config.exists():
        data = read_config(run.config).get("data")
        summary = replace(summary, state="not finished", data=None if data is None else str(data))
    metrics = run.read_metrics()
    begun = [retraining for retraining in run.retrainings() if retraining.config.exists()]
    unfinished = [retraining for retraining in begun if not retraining.is_finished()]
    if metrics:
        summary = _with_best(summary, list(metrics.values()))
    elif front is None:
        summary = replace(summary, state="not finished")
    return replace(summary, retrained=len(metrics), unfinished=len(unfinished))


def _with_front(summary: RunSummary, front: SearchResult) -> RunSummary:
    best = front.best_entry
    return replace(
        summary,
        state="searched",
        data=front.data,
        limits=front.budget.describe(),
        metric=front.metric,
        accuracy=best.accuracy,
        macs=best.cost.macs,
    )


def _with_best(summary: RunSummary, metrics: list[RetrainMetrics]) -> RunSummary:
    """Return a summary with the best of the retrained networks; without a search, with its data set and MACs too."""
    best = metrics[0]
    for entry in metrics:
        if entry.accuracy > best.accuracy:
            best = entry
    summary = replace(summary, state="retrained", best_retrained=best.accuracy)
    if summary.data is None:
        summary = replace(summary, data=best.data, metric=best.metric)
    return summary if summary.macs is not None else replace(summary, macs=best.cost.macs)
