"""Runs and trained models of earlier programs and commands, opened in a Python program."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..experiment.metric_names import format_metric
from ..experiment.results import FrontEntry, SearchResult
from ..experiment.run_folder import RunFolder
from ..experiment.runs import find_model
from .program_errors import keywords_in_errors
from .program_model import TrainedModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Run:
    """A searched run: the front of its newest search, and its folder.

    Args:
        folder: The run's folder, as the commands take it.

    Attributes:
        folder: The run's folder.
        result: Content of front.json.

    Raises:
        FileError: front.json is missing or damaged.

    Example:
        >>> import tinynas
        >>> run = tinynas.open_run("runs/example")
        >>> max(entry.cost.macs for entry in run.front) <= 150_000
        True
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.result: SearchResult = RunFolder(folder).read_front()

    @property
    def front(self) -> tuple[FrontEntry, ...]:
        """The networks that no other beats in accuracy and the costs of the front, in ascending order of the first."""
        return self.result.front

    @property
    def best(self) -> FrontEntry:
        """The most accurate network."""
        return self.result.best_entry

    @cached_property
    def evaluations(self) -> tuple[FrontEntry, ...]:
        """All networks that the search has evaluated; of a run of an earlier version those of the front."""
        return RunFolder(self.folder).read_evaluations().networks

    def plot(self) -> "Figure":
        """Plot the front, and all networks that were evaluated.

        Returns:
            A figure of accuracy on search-val over the first cost of the front; the second, if any, is the colour.
        """
        from ..experiment.front_plot import front_figure

        return front_figure(self.result, self.evaluations)

    def models(self) -> list[TrainedModel]:
        """Return the trained models of the run.

        Returns:
            A model for each finished retraining, in the order in which they finished.
        """
        run, models = RunFolder(self.folder), []
        for name in run.read_metrics():
            if run.retraining(name).is_finished():
                models.append(TrainedModel(run.retraining(name).model))
        return models

    def __repr__(self) -> str:
        best = format_metric(self.result.metric, self.best.accuracy)
        return f"Run({str(self.folder)!r}): {len(self.front)} networks on the front, best {best}"


@keywords_in_errors()
def open_run(folder: Path | str) -> Run:
    """Return a searched run.

    Args:
        folder: Its folder.

    Returns:
        The run.

    Raises:
        FileError: There is none, or its front.json is damaged.

    Example:
        >>> import tinynas
        >>> tinynas.open_run("runs/example").folder.name
        'example'
    """
    return Run(Path(folder))


@keywords_in_errors()
def open_model(path: Path | str) -> TrainedModel:
    """Return a trained model.

    Args:
        path: A model.safetensors, or the folder of a retraining.

    Returns:
        The model.

    Raises:
        FileError: The file is missing, corrupt, or not a model of tinynas.
        InputError: It is a model with early exits.

    Example:
        >>> import tinynas
        >>> tinynas.open_model("runs/example/retrain/plain").cost.macs <= 150_000
        True
    """
    return TrainedModel(find_model(Path(path)))
