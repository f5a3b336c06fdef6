"""tinynas in a Python program: the commands as functions, and the runs that they return."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from ..arch.budget import Budget
from ..data.datasets import Datasets
from ..experiment.config import RetrainConfig, SupernetConfig
from ..experiment.reporter import NullReporter, ProgressReporter
from ..experiment.results import FrontEntry, SearchResult
from ..experiment.run_folder import RetrainFolder, RunFolder
from ..experiment.runs import find_model
from ..experiment.search_settings import SearchSettings
from ..utils.distributed import choose_device
from ..utils.overrides import Overrides
from . import retrain as retrain_command
from . import search as search_command
from .keywords import RetrainKeywords, SearchKeywords
from .planning import front_budget, plan_retraining
from .program_data import DataSet, data_name
from .program_errors import keywords_in_errors
from .program_model import TrainedModel
from .search_planning import plan_search, search_target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Limit = str | int | None  # "50M" or 50_000_000; "256KB" or bytes


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
        """The networks that no other beats in both MACs and accuracy, in ascending order of both."""
        return self.result.front

    @property
    def best(self) -> FrontEntry:
        """The most accurate network."""
        return self.result.best_entry

    def plot(self) -> "Figure":
        """Plot the front.

        Returns:
            A figure of accuracy on search-val over MACs.
        """
        from ..experiment.plots import Series, pareto_figure

        result = self.result
        points = [(entry.cost.macs, entry.accuracy) for entry in result.front]
        budgets = [limit for limit in (result.budget.min_macs, result.budget.macs) if limit]
        return pareto_figure(
            [Series(label="Pareto front", points=points, line=True)],
            title=f"{result.space} on {result.data}: subnets on search-val",
            budgets=budgets,
            metric=result.metric,
        )

    def models(self) -> list[TrainedModel]:
        """Return the trained models of the run.

        Returns:
            A model for each finished retraining, in the order in which they finished.
        """
        models = []
        for name in RunFolder(self.folder).read_metrics():
            models.append(TrainedModel(RunFolder(self.folder).retraining(name).model))
        return models

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}): {len(self.front)} networks on the front, best {self.best.accuracy:.2f}%"


@keywords_in_errors()
def search(
    *,
    space: str | Path | None = None,
    data: DataSet | None = None,
    flops: Limit = None,
    params: Limit = None,
    sram: Limit = None,
    flash: Limit = None,
    latency: str | None = None,
    run: Path | str | None = None,
    resume: bool = False,
    task: str | None = None,
    device: str = "auto",
    progress: ProgressReporter | None = None,
    **settings: Unpack[SearchKeywords],
) -> Run:
    """Train a supernet and search it within limits, as `tinynas search` does.

    Args:
        space: Search space: a shipped one's name, or the path of a YAML file.
        data: The data set: a name, or a program's own.
        flops: Multiply-accumulates, or a range of them with `pareto`, "10M:50M".
        params: Parameters.
        sram: Memory that an inference takes on the target.
        flash: Memory of the network on the target.
        latency: Time of one inference, such as "5ms".
        run: Folder of the run; by default a new one in runs/.
        resume: Continue an interrupted search: that of `run`, or the newest.
        task: "classify" or "detect"; by default that of a program's own data, or of the run.
        device: What computes from now on in this program: auto, cpu, cuda, cuda:N or mps.
        progress: Receives messages and progress.
        **settings: As the options of `tinynas search`.

    Returns:
        The run. An interrupted search leaves a run that `resume` continues.

    Raises:
        BudgetError: No network of the space is within the limits.
        InputError: A setting or a limit is unknown or not valid, or a sample of the data set is.
        FileError: A file is missing or corrupt.
        TrainingError: The training diverged.

    Example:
        >>> import tinynas
        >>> run = tinynas.search(space="micro", data="digits", flops="200K", epochs=1, trials=3)
        >>> run.best.cost.macs <= 200_000
        True
    """
    choose_device(device)
    named = {**settings, "space": space and str(space), "data": data_name(data)}
    overrides = Overrides.read(_without_none(named), SearchSettings, SupernetConfig, where="search()")
    folder = Path(run) if run else None
    budget = Budget.parse(
        flops=_text(flops),
        params=_text(params),
        sram=_text(sram),
        flash=_text(flash),
        latency=latency,
        target=search_target(folder, resume=resume, overrides=overrides),
    )
    if task is None and not (folder and folder.exists()) and isinstance(data, Datasets):
        task = data.task
    plan = plan_search(folder, resume=resume, task=task, budget=budget, overrides=overrides)
    search_command.search(plan, report=progress or NullReporter())
    return Run(plan.run)


@keywords_in_errors()
def retrain(
    network: Run | Path | str | None = None,
    *,
    source: TrainedModel | Path | str | None = None,
    data: DataSet | None = None,
    flops: Limit = None,
    params: Limit = None,
    sram: Limit = None,
    flash: Limit = None,
    name: str | None = None,
    resume: bool = False,
    task: str | None = None,
    device: str = "auto",
    progress: ProgressReporter | None = None,
    **settings: Unpack[RetrainKeywords],
) -> TrainedModel:
    """Train one network, alone or with NetAug, as `tinynas retrain` does.

    Args:
        network: A run or its folder, whose best network is trained; an arch's YAML file; or a published network's name.
        source: A trained model that is trained further, instead of `network`.
        data: The data set: a name, or a program's own; by default that of the run or the model.
        flops: Multiply-accumulates. Limits choose the best network of the run's front that keeps them.
        params: Parameters.
        sram: Memory that an inference takes on the target.
        flash: Memory of the network on the target.
        name: Name of the retraining, which is its folder in the run.
        resume: Continue an interrupted retraining: that of `network` and `name`, or the newest.
        task: "detect" makes a detector of a classifier's backbone.
        device: What computes from now on in this program: auto, cpu, cuda, cuda:N or mps.
        progress: Receives messages and progress.
        **settings: As the options of `tinynas retrain`.

    Returns:
        The trained model.

    Raises:
        BudgetError: No network of the front keeps the limits.
        InputError: A setting or a limit is unknown or not valid, or does not suit the network.
        FileError: A file is missing or corrupt.
        TrainingError: The training diverged.

    Example:
        >>> import tinynas
        >>> model = tinynas.retrain("runs/example", netaug=True, epochs=1)
        >>> model.metrics.epochs
        1
    """
    choose_device(device)
    target = _path_of(network)
    path = source.path if isinstance(source, TrainedModel) else source
    named = {**settings, "data": data_name(data)}
    overrides = Overrides.read(_without_none(named), RetrainConfig, where="retrain()")
    model = Path(path) if path else None
    budget = front_budget(target, model, flops=_text(flops), params=_text(params), sram=_text(sram), flash=_text(flash))
    plan = plan_retraining(
        target,
        name=name,
        resume=resume,
        task=task,
        source=model,
        budget=budget,
        overrides=overrides,
    )
    retrain_command.retrain(plan, report=progress or NullReporter())
    return TrainedModel(RetrainFolder(plan.folder).model)


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


def _path_of(network: Run | Path | str | None) -> str | None:
    """Return a network as the command takes it."""
    if isinstance(network, Run):
        return str(network.folder)
    return None if network is None else str(network)


def _text(limit: Limit) -> str | None:
    """Return a limit as the command takes it."""
    return None if limit is None else str(limit)


def _without_none(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that have values: None is the default."""
    return {name: value for name, value in settings.items() if value is not None}
