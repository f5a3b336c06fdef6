"""The second half of the search command: search a trained supernet, write the Pareto front."""

from collections.abc import Callable
from functools import partial

from ..arch.space import SearchSpace
from ..data.base import Data
from ..experiment.evaluated import EvaluatedNetworks, most_accurate
from ..experiment.front_plot import front_figure
from ..experiment.plots import render
from ..experiment.reporter import ProgressReporter
from ..experiment.results import FrontEntry, SearchResult
from ..experiment.run_folder import RunFolder
from ..experiment.search_plan import SearchPlan
from ..kernels.threads import all_threads_for_kernels
from ..models.model_file import digest
from ..models.supernet import Supernet
from ..study.evaluator import SubnetEvaluator
from ..study.history import Evaluation
from ..study.index import SearchOutcome
from ..study.loop import AfterTrial
from ..study.loop import search as search_space
from ..study.predictor import cross_validated_tau
from ..study.racing import Race
from ..tasks.registry import TASKS
from .search_limits import feasible_networks
from .search_progress import SearchDisplay, SearchProgress, SearchState
from .search_workers import workers_beside

_MIN_EVALUATIONS = 10  # from which the predictor's correlation is reported


def search_trained(plan: SearchPlan, supernet: Supernet, data: Data, *, report: ProgressReporter) -> SearchResult:
    """Search a trained supernet within the budget, by all workers of the plan, and write the Pareto front.

    Args:
        plan: The search.
        supernet: The run's supernet.
        data: The data set.
        report: Progress, and what there is to say about the search.

    Returns:
        The Pareto front, as it is written to front.json.
    """
    if plan.measured:
        from ..deploy.measured_costs import how_measured

        report.note(how_measured(plan.target))
    metric = plan.settings.evaluate or TASKS[data.task].metric
    display = SearchDisplay(report, plan.settings.trials, metric=metric)
    progress = SearchProgress(partial(display.show, 1), plan.front_costs)
    with workers_beside(plan, supernet, data, display):
        outcome = search_supernet(plan, supernet, data, after_trial=progress.after_trial, note=display.note)
    evaluations = outcome.evaluations
    for failure in outcome.failures.values():
        report.note(f"search: a network could not be evaluated in {failure.attempts} attempts: {failure.reason}")
    tried = len(evaluations) + outcome.num_dropped
    if outcome.num_dropped:
        report.note(f"search: {outcome.num_dropped} of {tried} networks were dropped after a part of search-val")
    if tried < plan.settings.trials:
        report.note(f"search: found no more than {tried} different networks within the limits")
    if plan.settings.sampler == "predictor" and len(evaluations) >= _MIN_EVALUATIONS:
        _report_predictor(supernet.space, evaluations, report)
    return _write_front(plan, supernet.space, evaluations, data)


def join_search(plan: SearchPlan, supernet: Supernet, data: Data, *, report: ProgressReporter) -> None:
    """Search beside the first process of torchrun until the study is complete, if this process can reach the study.

    Args:
        plan: The search.
        supernet: The run's supernet, the same as the first process has.
        data: The data set.
        report: What there is to say about the search.
    """
    storage = plan.settings.storage or ""
    is_on_server = "://" in storage and not storage.startswith("sqlite")
    if is_on_server or RunFolder(plan.run).search.exists():  # a file is the first process's where its run is seen
        search_supernet(
            plan, supernet, data, after_trial=SearchProgress(_ignore, plan.front_costs).after_trial, note=report.note
        )


def _ignore(state: SearchState) -> None:
    """Do not show the state of a worker: the first process shows that of the study."""


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
    feasible = feasible_networks(plan, supernet.space)
    evaluator = SubnetEvaluator(supernet, data, note=note, evaluate=plan.evaluate)
    weights = digest(supernet.state_dict())[:12]
    if plan.settings.evaluate:
        weights += f" by {plan.settings.evaluate}"
    with all_threads_for_kernels(supernet.fused):
        return search_space(
            feasible.with_predictor(plan.objectives),
            evaluator,
            race=Race(evaluator, feasible, objectives=plan.objectives) if plan.settings.race else None,
            weights=weights,
            storage=plan.settings.storage or str(RunFolder(plan.run).study),
            trials=plan.settings.trials,
            sampler=plan.sampler or plan.settings.sampler,
            objectives=plan.objectives,
            seed=plan.config.recipe.seed,
            after_trial=after_trial,
            note=note,
            storage_timeout=plan.settings.storage_timeout,
        )


def _report_predictor(space: SearchSpace, evaluations: list[Evaluation], report: ProgressReporter) -> None:
    """Report how well the predictor ranks networks that it was not fitted to."""
    archs, accuracies = [], []
    for evaluation in evaluations:
        archs.append(evaluation.arch)
        accuracies.append(evaluation.accuracy)
    tau = cross_validated_tau(space, archs, accuracies)
    report.note(f"predictor: 5-fold cross-validated Kendall's tau {tau:.2f} on {len(archs)} evaluations")


def _write_front(plan: SearchPlan, space: SearchSpace, evaluations: list[Evaluation], data: Data) -> SearchResult:
    """Write the Pareto front of the evaluations, measured on the data set's search-val, into the run."""
    config, task = plan.config, TASKS[data.task]
    own_metric = plan.settings.evaluate
    evaluated = []
    for evaluation in evaluations:
        error = None if own_metric else task.standard_error(evaluation.accuracy, len(data.val))
        evaluated.append(
            FrontEntry(arch=evaluation.arch, accuracy=evaluation.accuracy, standard_error=error, cost=evaluation.cost)
        )
    front = EvaluatedNetworks(networks=tuple(evaluated)).front_of(plan.front_costs)
    own_costs = {}
    for name, digest_of_cost in plan.own.digests(space).items():
        own_costs[name] = {"unit": plan.own.units[name], "digest": digest_of_cost}
    result = SearchResult(
        space=config.space,
        data=config.data,
        metric=own_metric or task.metric,
        budget=plan.budget,
        objectives=plan.front_costs,
        own_costs=own_costs,
        target=plan.target.name,
        latency_table=plan.latency_table.digest if plan.latency_table else None,
        evaluations=len(evaluated),
        chance=None if own_metric else task.chance(data.val.labels, data.classes),
        front=tuple(front),
        best=front.index(most_accurate(front)),
    )
    RunFolder(plan.run).write_front(result, evaluated, render(front_figure(result, evaluated)))
    return result
