"""The search command: train a run's supernet, search it, write the Pareto front."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from ..arch.cost import MEASURED, MeasuredCosts
from ..arch.space import SearchSpace
from ..data.base import Data
from ..data.identity import DataIdentity
from ..data.registry import load_data
from ..data.summary import summarise
from ..deploy.measured_costs import how_measured, measured_costs
from ..experiment.log import RunLog
from ..experiment.plans import SearchPlan
from ..experiment.plots import Series, pareto_plot
from ..experiment.reporter import ProgressReporter, log_progress, log_record
from ..experiment.results import FrontEntry, SearchResult
from ..experiment.run_folder import RunFolder
from ..experiment.saved import check_data, save_config, save_data
from ..models.model_file import digest
from ..models.supernet import Supernet
from ..study.evaluator import SubnetEvaluator
from ..study.feasible import Feasible
from ..study.history import Evaluation
from ..study.index import SearchOutcome
from ..study.loop import AfterTrial
from ..study.loop import search as search_space
from ..study.predictor import cross_validated_tau
from ..tasks.losses import Loss
from ..tasks.registry import TASKS
from ..tasks.task import Task
from ..training.loop import train
from ..training.objectives import LargestObjective, Objective, SandwichObjective
from ..training.precision import check_precision
from ..training.progress import Progress
from ..utils.distributed import device, rank
from ..utils.io import removed_if_empty, write, write_yaml
from ..utils.pareto import pareto_front
from .folder_locks import supernet_lock
from .run_supernet import space_for, space_text
from .search_planning import search_settings
from .search_progress import SearchDisplay, SearchProgress, point
from .search_workers import workers_beside

_MIN_EVALUATIONS = 10  # from which the predictor's correlation is reported


def search(plan: SearchPlan, *, report: ProgressReporter) -> SearchResult | None:
    """Train the run's supernet unless it is trained, search it within the budget, and write the Pareto front.

    An interrupted search resumes where it stopped; several processes may search one run together. Under torchrun all
    processes train, and the first one searches; the others return None.

    Returns:
        The Pareto front, as it is written to front.json.

    Raises:
        BudgetError: No network of the space is within the budget; raised before anything is trained.
        InputError: The space or the data set is not valid, or they are for different tasks.
        FileError: A file is missing or corrupt, or the run has other settings.
        TrainingError: The training diverged.
    """
    with removed_if_empty(plan.run):
        supernet, data = train_supernet(plan, report=report)
    if rank() > 0:
        return None
    if plan.budget.only(MEASURED).limits() and not plan.latency_table:
        report.note(how_measured(plan.target))
    display = SearchDisplay(report, plan.settings.trials)
    progress = SearchProgress(partial(display.show, 1))
    with workers_beside(plan, supernet, data, display):
        outcome = search_supernet(plan, supernet, data, after_trial=progress.after_trial, note=display.note)
    evaluations = outcome.evaluations
    for failure in outcome.failures.values():
        report.note(f"search: a network could not be evaluated in {failure.attempts} attempts: {failure.reason}")
    if len(evaluations) < plan.settings.trials:
        report.note(f"search: found no more than {len(evaluations)} different networks within the limits")
    if plan.settings.sampler == "predictor" and len(evaluations) >= _MIN_EVALUATIONS:
        _report_predictor(supernet.space, evaluations, report)
    return _write_front(plan, evaluations, data)


def _report_predictor(space: SearchSpace, evaluations: list[Evaluation], report: ProgressReporter) -> None:
    """Report how well the predictor ranks networks that it was not fitted to."""
    archs, accuracies = [], []
    for evaluation in evaluations:
        archs.append(evaluation.arch)
        accuracies.append(evaluation.accuracy)
    tau = cross_validated_tau(space, archs, accuracies)
    report.note(f"predictor: 5-fold cross-validated Kendall's tau {tau:.2f} on {len(archs)} evaluations")


def train_supernet(plan: SearchPlan, *, report: ProgressReporter) -> tuple[Supernet, Data]:
    """Train the run's supernet to its end, unless it is trained; return it, and the data.

    One process trains it; others that come meanwhile wait.

    Raises:
        BudgetError: No network of the space is within the budget; raised before anything is trained.
        FileError: The data set has changed since the run was begun, or the latency table lacks layers of the space.
    """
    run, config = RunFolder(plan.run), plan.config
    text = space_text(plan.run, config.space)
    data = load_data(config.data, skip_unreadable=config.skip_unreadable)
    identity = DataIdentity.of(data)
    check_data(run.data, config.data, identity)
    space = space_for(data, text, run.space)
    if plan.latency_table:
        plan.latency_table.check_covers(space, config.space)
    plan.target.check_operators(space.max())
    _feasible(plan, space).check()
    check_precision(config.recipe.precision, device())
    task, recipe = TASKS[data.task], config.recipe
    loss = task.loss(space.max(), data, label_smoothing=recipe.label_smoothing, class_weights=recipe.class_weights)
    log = RunLog(run.log, tensorboard=plan.tensorboard)
    training = _SupernetTraining(plan=plan, space=space, task=task, loss=loss, log=log, report=report)
    for line in summarise(data, config.data).lines():
        report.note(line)
    if rank() > 0:
        return _train(training, data), data
    with supernet_lock(run, report):
        save_config(run.config, asdict(config))
        save_data(run.data, config.data, identity)
        write(run.space, text)
        write_yaml(run.search, search_settings(plan))
        return _train(training, data), data


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
        """Report progress; after an epoch also log it."""
        log_progress(self.report, "supernet", progress)
        if progress.ends_epoch:
            self.log.add(log_record(progress))


def _train(training: _SupernetTraining, data: Data) -> Supernet:
    """Train a supernet, resuming from the run's checkpoint."""
    plan, space = training.plan, training.space
    torch.manual_seed(plan.config.recipe.seed)
    supernet = Supernet(space).to(device())
    train(
        supernet,
        training.objective,
        data,
        plan.config.recipe,
        resolutions=space.resolution,
        checkpoint=RunFolder(plan.run).supernet,
        after_step=training.after_step,
    )
    return supernet


def _feasible(plan: SearchPlan, space: SearchSpace) -> Feasible:
    """Return the networks of the space within the plan's budget."""
    return Feasible(space=space, budget=plan.budget, measured=_measured_costs(plan))


def _measured_costs(plan: SearchPlan) -> MeasuredCosts | None:
    """Return where costs that are not counted come from, if one of them is limited: the plan's table, or the target."""
    if not plan.budget.only(MEASURED).limits():
        return None
    return plan.latency_table or measured_costs(plan.target, sram=plan.budget.peak_sram_vela)


def search_supernet(
    plan: SearchPlan,
    supernet: Supernet,
    data: Data,
    *,
    after_trial: AfterTrial,
    note: Callable[[str], None],
) -> SearchOutcome:
    """Search a trained supernet's space; the study is kept where the plan says, by default in the run.

    Args:
        plan: The search.
        supernet: The supernet.
        data: The data set.
        after_trial: As in `tinynas.study.loop.search`.
        note: As there.
    """
    feasible = _feasible(plan, supernet.space)
    return search_space(
        feasible if plan.latency_table else feasible.with_predictor(),
        SubnetEvaluator(supernet, data, note=note),
        weights=digest(supernet.state_dict())[:12],
        storage=plan.settings.storage or str(RunFolder(plan.run).study),
        trials=plan.settings.trials,
        sampler=plan.settings.sampler,
        pareto=plan.settings.pareto,
        seed=plan.config.recipe.seed,
        after_trial=after_trial,
        note=note,
        storage_timeout=plan.settings.storage_timeout,
    )


def _write_front(plan: SearchPlan, evaluations: list[Evaluation], data: Data) -> SearchResult:
    """Write the Pareto front of the evaluations, measured on the data set's search-val, into the run."""
    config, budget, task = plan.config, plan.budget, TASKS[data.task]
    best = pareto_front(evaluations, point)
    entries = []
    for evaluation in best:
        error = task.standard_error(evaluation.accuracy, len(data.val))
        entries.append(
            FrontEntry(arch=evaluation.arch, accuracy=evaluation.accuracy, standard_error=error, cost=evaluation.cost)
        )
    result = SearchResult(
        space=config.space,
        data=config.data,
        metric=task.metric,
        budget=budget,
        target=plan.target.name,
        latency_table=plan.latency_table.digest if plan.latency_table else None,
        evaluations=len(evaluations),
        chance=task.chance(data.val.labels, data.classes),
        front=tuple(entries),
        best=len(entries) - 1,  # the front ascends in accuracy
    )
    series = [
        Series(label="evaluated", points=list(map(point, evaluations)), faint=True),
        Series(label="Pareto front", points=list(map(point, best)), line=True),
    ]
    title = f"{config.space} on {config.data}: subnets on search-val"
    budgets = [limit for limit in (budget.min_macs, budget.macs) if limit]
    RunFolder(plan.run).write_front(result, pareto_plot(series, title=title, budgets=budgets, metric=task.metric))
    return result
