"""The search command: train a run's supernet, then search it; or search networks that are trained one by one."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..arch.space import SearchSpace
from ..data.base import Data
from ..data.identity import DataIdentity
from ..data.registry import load_data
from ..data.summary import summarise
from ..experiment.log import RunLog
from ..experiment.reporter import ProgressReporter, log_progress, log_record
from ..experiment.results import SearchResult
from ..experiment.run_folder import RunFolder
from ..experiment.saved import check_data, read_supernet_config, save_config, save_data
from ..experiment.search_plan import SearchPlan
from ..experiment.search_settings import HUB_SAMPLER
from ..experiment.tracked_runs import tracked_search
from ..experiment.trackers import Trackers
from ..models.supernet import Supernet
from ..study.feasible import Feasible
from ..tasks.losses import Loss
from ..tasks.registry import TASKS
from ..tasks.task import Task
from ..training.augmentation import check_augmentation
from ..training.backend import use_backend
from ..training.loop import train
from ..training.objectives import LargestObjective, Objective, SandwichObjective
from ..training.precision import check_precision
from ..training.progress import Progress
from ..utils.distributed import broadcast_from_rank0, broadcast_weights, device, rank, world_size
from ..utils.errors import InputError
from ..utils.io import removed_if_empty, write, write_yaml
from .block_check import check_blocks
from .folder_locks import supernet_lock
from .model_data import check_same_data
from .narrow_space import narrowed_text
from .resolved_retraining import fit_recipe
from .run_supernet import space_for, space_text
from .search_limits import check_costs, feasible_networks, note_other_limits
from .search_planning import check_evaluation, search_settings


def search(plan: SearchPlan, *, report: ProgressReporter) -> SearchResult | None:
    """Train the run's supernet unless it is trained, search it within the budget, and write the Pareto front.

    If the plan's networks are trained from scratch, there is no supernet.

    An interrupted search resumes where it stopped; several processes may search one run together. Under torchrun all
    processes train, and those that reach the study search: all if it is on a server, else those that see the run's
    folder. All but the first return None.

    Returns:
        The Pareto front, as it is written to front.json.

    Raises:
        BudgetError: No network of the space is within the budget; raised before anything is trained.
        InputError: The space or the data set is not valid, or they are for different tasks.
        FileError: A file is missing or corrupt, or the run has other settings.
        TrainingError: The training diverged.
    """
    with Trackers(plan.track, note=report.note) as trackers:
        if plan.settings.trains:
            return _search_by_training(plan, trackers, report=report)
        return _search_supernet(plan, trackers, report=report)


def _search_supernet(plan: SearchPlan, trackers: Trackers, *, report: ProgressReporter) -> SearchResult | None:
    """Search a run that has a supernet, which is trained first unless it is."""
    with removed_if_empty(plan.run):
        supernet, data = train_supernet(plan, report=report, trackers=trackers)
    broadcast_weights(supernet)  # with its statistics: they identify the supernet in the study
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")  # in notebooks, of what Optuna imports
        from .search_study import search_networks  # Optuna and what draws pictures: once the supernet is trained
        from .supernet_search import SupernetSearch, join_search

    networks = SupernetSearch(plan=plan, supernet=supernet, data=data)
    if rank() > 0:
        join_search(networks, report=report)
        return None
    return search_networks(networks, trackers, report=report)


def train_supernet(
    plan: SearchPlan, *, report: ProgressReporter, trackers: Trackers | None = None
) -> tuple[Supernet, Data]:
    """Train the run's supernet to its end, unless it is trained; return it, and the data.

    One process trains it; others that come meanwhile wait.

    Raises:
        BudgetError: No network of the space is within the budget; raised before anything is trained.
        FileError: The data set has changed since the run was begun, or a table of costs lacks layers of the space.
    """
    loaded = _load(plan, report)
    run, recipe, space, data = RunFolder(plan.run), plan.config.recipe, loaded.space, loaded.data
    task = TASKS[data.task]
    if plan.settings.race and not task.supports_racing:
        raise InputError(
            f"--race compares which images are classified correctly, but the networks {task.name}; remove --race"
        )
    if recipe.backend == "fused":
        use_backend(Supernet(space).to(device()), recipe, note=_unsaid)  # before anything is written
    loss = task.loss(space.max(), data, label_smoothing=recipe.label_smoothing, class_weights=recipe.class_weights)
    log = RunLog(run.log, trackers=trackers)
    training = _SupernetTraining(plan=plan, space=space, task=task, loss=loss, log=log, report=report)
    loaded.describe(report)
    if rank() > 0:
        return _train(training, data), data
    with supernet_lock(run, report):
        loaded.begin(log.trackers)
        return _train(training, data), data


def _search_by_training(plan: SearchPlan, trackers: Trackers, *, report: ProgressReporter) -> SearchResult:
    """Search a run that has no supernet, whose networks are each trained from scratch."""
    if world_size() > 1:
        raise InputError(
            "--evaluate train trains every network in a process of its own; search without torchrun, with --workers"
        )
    with removed_if_empty(plan.run):
        loaded = _load(plan, report)
        plan = loaded.plan
        use_backend(Supernet(loaded.space).to(device()), plan.config.recipe, note=report.note)
        loaded.describe(report)
        loaded.begin(trackers)
    from .search_study import search_networks  # Optuna and what draws pictures
    from .training_search import TrainingSearch

    data = loaded.data.to(device())
    networks = TrainingSearch(plan=plan, space=loaded.space, data=data, identity=loaded.identity)
    return search_networks(networks, trackers, report=report)


@dataclass(frozen=True, kw_only=True)
class _LoadedSearch:
    """A search whose space and data set are loaded and checked, before anything is written.

    Attributes:
        plan: The search.
        text: The run's space.yaml.
        space: The search space, fitted to the data set.
        data: The data set.
        identity: Its classes, images and labels.
        notes: What there is to say about the recipe.
    """

    plan: SearchPlan
    text: str
    space: SearchSpace
    data: Data
    identity: DataIdentity
    notes: tuple[str, ...] = ()

    def describe(self, report: ProgressReporter) -> None:
        """Say what the data set is, and whether the search has other limits than the one that it resumes."""
        note_other_limits(self.plan, report)
        for line in (*summarise(self.data, self.plan.config.data).lines(), *self.notes):
            report.note(line)

    def begin(self, trackers: Trackers) -> None:
        """Start trackers; write settings, data.json and space into the run, or check that they are those of the run."""
        run, config = RunFolder(self.plan.run), self.plan.config
        settings = config.to_dict(with_supernet=not self.plan.settings.trains)
        searched = search_settings(self.plan, self.space)
        trackers.start(tracked_search(self.plan, {**settings, **searched}))
        save_config(run.config, settings)
        save_data(run.data, config.data, self.identity)
        write(run.space, self.text)
        write_yaml(run.search, searched)


def _load(plan: SearchPlan, report: ProgressReporter) -> _LoadedSearch:
    """Load the search space and the data set of a search, and check everything that can be checked before training."""
    run, config = RunFolder(plan.run), plan.config
    check_evaluation(plan)
    text = broadcast_from_rank0(space_text, plan.run, config.space, plan.space)
    is_of_run = run.config.exists() and read_supernet_config(plan.run).data == config.data
    named_in = plan.run if is_of_run else None
    data = load_data(config.data, skip_unreadable=config.skip_unreadable, named_in=named_in)
    identity = DataIdentity.of(data)
    check_same_data(config.data, identity)
    check_data(run.data, config.data, identity)
    space = space_for(data, text, run.space)
    check_costs(plan, space)
    for arch in (space.min(), space.max()):
        check_blocks(arch)
    plan.target.check_operators(space.max())
    feasible = feasible_networks(plan, space)
    feasible.check(config.space)
    notes: tuple[str, ...] = ()
    if config.narrow and not run.space.exists():
        text, note = broadcast_from_rank0(narrowed_text, plan, text, feasible)
        space, notes = space_for(data, text, run.space), (note,)
        feasible = feasible_networks(plan, space)
    check_precision(config.recipe.precision, device())
    if plan.named is not None:
        config, notes = fit_recipe(config, space.min(), space.max(), data=data, named=plan.named)
        plan = replace(plan, config=config)
    check_augmentation(config.recipe, data)
    _try_sampler(plan, feasible)
    _try_storage(plan, report)
    return _LoadedSearch(plan=plan, text=text, space=space, data=data, identity=identity, notes=notes)


def _try_sampler(plan: SearchPlan, feasible: Feasible) -> None:
    """Let the sampler propose a network if it is none of ours. Raises InputError if it cannot in such a search."""
    sampler = plan.sampler or plan.settings.sampler
    if isinstance(sampler, str) and not sampler.startswith(HUB_SAMPLER):
        return
    from ..study.own_sampler import try_sampler  # Optuna

    try_sampler(sampler, feasible, objectives=plan.objectives, seed=plan.config.recipe.seed)


def _try_storage(plan: SearchPlan, report: ProgressReporter) -> None:
    """Open the study's storage, if it is not in the run. Raises FileError or InputError if it cannot be used."""
    settings = plan.settings
    if settings.storage is None or rank() > 0:
        return
    from ..study.shared_study import try_storage  # Optuna

    try_storage(settings.storage, timeout=settings.storage_timeout, note=report.note)


@dataclass(frozen=True, kw_only=True)
class _SupernetTraining:
    """What the training of a run's supernet calls: the objective of an epoch, and reports."""

    plan: SearchPlan
    space: SearchSpace
    task: Task
    loss: Loss[Any]
    log: RunLog
    report: ProgressReporter

    def objective(self, epoch: int) -> Objective:
        """Return the objective of an epoch: the largest network alone at first, then the sandwich rule."""
        config = self.plan.config
        if epoch < config.largest_warmup_epochs:
            return LargestObjective(self.space, self.loss)
        return SandwichObjective(
            self.space.fixed_choices(*config.fixed_choices(epoch)),
            loss=self.loss,
            distillation_loss=self.task.distillation_loss(),
            num_random_subnets=config.num_random_subnets,
            size_balanced=config.size_balanced_sampling,
            distillation=config.distillation,
        )

    def after_step(self, progress: Progress) -> None:
        """Report progress; after an epoch also log it. Only the first process does."""
        if rank() > 0:
            return
        log_progress(self.report, "supernet", progress)
        if progress.ends_epoch:
            self.log.add(log_record(progress))


def _unsaid(message: str) -> None:
    """Do not show a message."""


def _train(training: _SupernetTraining, data: Data) -> Supernet:
    """Train a supernet, resuming from the run's checkpoint."""
    plan, space = training.plan, training.space
    torch.manual_seed(plan.config.recipe.seed)
    supernet = Supernet(space).to(device())
    use_backend(supernet, plan.config.recipe, note=training.report.note)
    train(
        supernet,
        training.objective,
        data.to(device()),
        plan.config.recipe,
        resolutions=space.resolution,
        checkpoint=RunFolder(plan.run).supernet,
        after_step=training.after_step,
        note=training.report.note,
    )
    return supernet
