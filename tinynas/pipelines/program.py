"""tinynas in a Python program: the commands that train, as functions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from torch import Tensor

from ..arch.arch import Arch
from ..arch.budget import Budget, OwnLimits
from ..arch.own_costs import CostFunction
from ..arch.space import SearchSpace
from ..data.datasets import Datasets
from ..experiment.config import RetrainConfig, SupernetConfig
from ..experiment.recipes import AUTO
from ..experiment.retrain_folder import RetrainFolder
from ..experiment.search_settings import SearchSettings
from ..experiment.space_file import name_of_space
from ..study.own_evaluation import Evaluate
from ..utils.distributed import choose_device
from . import retrain as retrain_command
from . import search as search_command
from .keywords import RetrainKeywords, SearchKeywords
from .planning import plan_retraining
from .program_arguments import (
    Limit,
    by_name,
    limit_texts,
    loss_name,
    own_evaluation,
    own_limits,
    path_of,
    read_settings,
    recipe_of,
    tracker_names,
    without_none,
)
from .program_data import DataSet, data_name
from .program_errors import keywords_in_errors
from .program_model import TrainedModel
from .program_progress import Progress, reporter_of
from .program_run import Run
from .run_network import front_budget
from .search_planning import own_sampler, plan_search, search_target

LossFunction = Callable[[Tensor, Tensor], Tensor]
_COST = '"energy": function'


@keywords_in_errors()
def search(
    *,
    space: SearchSpace | str | Path | None = None,
    data: DataSet | None = None,
    flops: Limit = None,
    params: Limit = None,
    sram: Limit = None,
    flash: Limit = None,
    latency: str | None = None,
    evaluate: Evaluate | str | None = None,
    limits: OwnLimits | None = None,
    costs: Mapping[str, CostFunction] | None = None,
    run: Path | str | None = None,
    resume: bool = False,
    task: str | None = None,
    device: str = "auto",
    track: str | Sequence[str] = (),
    progress: Progress = False,
    **settings: Unpack[SearchKeywords],
) -> Run:
    """Train a supernet and search it within limits, or train networks one by one, as `tinynas search` does.

    Args:
        space: Search space: a shipped one's name, the path of a YAML file, or a space of the program.
        data: The data set: a name, or a program's own.
        flops: Multiply-accumulates, or a range of them with `pareto`, "10M:50M".
        params: Parameters.
        sram: Memory that an inference takes on the target.
        flash: Memory of the network on the target.
        latency: Time of one inference, such as "5ms".
        evaluate: A function of a network, an ordinary module in eval mode, and of search-val's batches (images,
            labels), which returns a number: the higher, the better. It takes the place of the accuracy. Or "train":
            there is no supernet, and every network is trained from scratch.
        limits: Limits of costs of your own, by name: {"energy": 3.0}.
        costs: Costs of your own, by name: functions of an `Arch` that return a number above 0.
        run: Folder of the run; by default a new one in runs/.
        resume: Continue an interrupted search: that of `run`, or the newest.
        task: "classify" or "detect"; by default that of a program's own data, or of the run.
        device: What computes from now on in this program: auto, cpu, cuda, cuda:N or mps.
        track: Trackers that show it live: mlflow, wandb, tensorboard; one, or a list.
        progress: True shows messages and progress as the commands do; an object of yours receives them.
        **settings: As the options of `tinynas search`; `sampler` may be a sampler of Optuna.

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
    trackers = tracker_names(track)
    choose_device(device)
    of_program = space if isinstance(space, SearchSpace) else None
    space_name = name_of_space(of_program) if of_program else space and str(space)
    own, sampler_name = own_sampler(settings.get("sampler"))
    function, way = own_evaluation(evaluate)
    named = {**settings, "space": space_name, "data": data_name(data), "evaluate": way, "sampler": sampler_name}
    overrides = read_settings(search, without_none(named), SearchSettings, SupernetConfig)
    folder = Path(run) if run else None
    texts = limit_texts(flops=flops, params=params, sram=sram, flash=flash, latency=latency)
    target = search_target(folder, resume=resume, overrides=overrides)
    budget = Budget.parse(**texts, own=own_limits(limits), target=target)
    functions = by_name("costs", costs, _COST)
    if task is None and not (folder and folder.exists()) and isinstance(data, Datasets):
        task = data.task
    plan = plan_search(
        folder, resume=resume, task=task, budget=budget, costs=functions, sampler=own, overrides=overrides
    )
    plan = replace(plan, space=of_program, evaluate=function, track=trackers)
    with reporter_of(progress) as report:
        search_command.search(plan, report=report)
    return Run(plan.run)


@keywords_in_errors()
def retrain(
    network: Run | Arch | Path | str | None = None,
    *,
    source: TrainedModel | Path | str | None = None,
    data: DataSet | None = None,
    flops: Limit = None,
    params: Limit = None,
    sram: Limit = None,
    flash: Limit = None,
    latency: str | None = None,
    limits: OwnLimits | None = None,
    loss: LossFunction | None = None,
    recipe: str | Path = AUTO,
    name: str | None = None,
    resume: bool = False,
    task: str | None = None,
    device: str = "auto",
    track: str | Sequence[str] = (),
    progress: Progress = False,
    **settings: Unpack[RetrainKeywords],
) -> TrainedModel:
    """Train one network, alone or with NetAug, as `tinynas retrain` does.

    Args:
        network: A run or its folder, whose best network is trained; an arch, or its YAML file; or a published network's
            name. By default that of the recipe, or the newest run.
        source: A trained model that is trained further, instead of `network`.
        data: The data set: a name, or a program's own; by default that of the run or the model.
        flops: Multiply-accumulates. Limits choose the most accurate network that the run has evaluated within them.
        params: Parameters.
        sram: Memory that an inference takes on the target.
        flash: Memory of the network on the target.
        latency: Time of one inference, if the search knew it.
        limits: Limits of costs of your own, by name.
        loss: A function of outputs (N, classes) and labels (N,), which returns a scalar tensor. It takes the place of
            the cross entropy with label smoothing, also beside a teacher and in NetAug's wider networks.
        recipe: "auto" fits the settings that are not named to the network and the number of its training images;
            "defaults" leaves them as they are. Or a published recipe's name, or a YAML file of settings and their
            network.
        name: Name of the retraining, which is its folder in the run.
        resume: Continue an interrupted retraining: that of `network` and `name`, or the newest.
        task: "detect" makes a detector of a classifier's backbone.
        device: What computes from now on in this program: auto, cpu, cuda, cuda:N or mps.
        track: Trackers that show it live: mlflow, wandb, tensorboard; one, or a list.
        progress: True shows messages and progress as the commands do; an object of yours receives them.
        **settings: As the options of `tinynas retrain`.

    Returns:
        The trained model.

    Raises:
        BudgetError: No network of the run keeps the limits.
        InputError: A setting or a limit is unknown or not valid, or does not suit the network.
        FileError: A file is missing or corrupt.
        TrainingError: The training diverged.

    Example:
        >>> import tinynas
        >>> model = tinynas.retrain("runs/example", netaug=True, epochs=1)
        >>> model.metrics.epochs
        1
    """
    trackers = tracker_names(track)
    choose_device(device)
    target, model, named_recipe = path_of(network), path_of(source), recipe_of(recipe, network)
    source_path = Path(model) if model else None
    named = {**settings, "data": data_name(data), "loss": loss_name(loss, settings)}
    overrides = read_settings(retrain, without_none(named), RetrainConfig)
    if named_recipe and not resume:
        overrides = named_recipe.overrides_for(source_path) | overrides
    texts = limit_texts(flops=flops, params=params, sram=sram, flash=flash, latency=latency)
    budget = front_budget(target, source_path, own=own_limits(limits), **texts)
    plan = plan_retraining(
        target,
        name=name,
        resume=resume,
        task=task,
        source=source_path,
        budget=budget,
        recipe=named_recipe,
        fits_recipe=recipe == AUTO,
        overrides=overrides,
    )
    with reporter_of(progress) as report:
        retrain_command.retrain(replace(plan, loss=loss, track=trackers), report=report)
    return TrainedModel(RetrainFolder(plan.folder).model)
