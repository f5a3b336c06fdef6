"""The second half of the search command: search a trained supernet, write the Pareto front."""

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
from ..models.supernet import Supernet
from ..study.history import Evaluation
from ..study.predictor import cross_validated_tau
from ..tasks.registry import TASKS
from .search_progress import SearchDisplay, SearchProgress
from .search_workers import search_workers_beside
from .supernet_search import search_supernet

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
    with search_workers_beside(plan, supernet, data, display):
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
