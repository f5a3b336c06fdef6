"""The second half of the search command: search networks, write the Pareto front."""

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
from ..experiment.tracked_runs import conclude_search
from ..experiment.trackers import Trackers
from ..study.history import Evaluation
from ..study.predictor import cross_validation
from ..tasks.registry import TASKS
from ..utils.errors import EvaluationError
from .network_search import NetworkSearch
from .report import update_report
from .search_progress import SearchDisplay, SearchProgress
from .search_workers import search_workers_beside

_MIN_EVALUATIONS = 10  # from which the predictor's correlation is reported


def search_networks(search: NetworkSearch, trackers: Trackers, *, report: ProgressReporter) -> SearchResult:
    """Search networks within the budget, by all workers of the plan, and write the Pareto front.

    Args:
        search: The search by one process.
        trackers: Receive the figures of the search and of its result.
        report: Progress, and what there is to say about the search.

    Returns:
        The Pareto front, as it is written to front.json.

    Raises:
        EvaluationError: No network was evaluated to the end.
    """
    plan, data = search.plan, search.data
    if plan.measured:
        from ..deploy.measured_costs import how_measured

        report.note(how_measured(plan.target))
    metric = plan.settings.own_metric or TASKS[data.task].metric
    dropped = "stopped early" if plan.settings.trains else "dropped"
    display = SearchDisplay(report, plan.settings.trials, metric=metric, dropped=dropped, trackers=trackers)
    progress = SearchProgress(partial(display.show, 1), plan.front_costs)
    with search_workers_beside(search, display):
        outcome = search.run(after_trial=progress.after_trial, note=display.note)
    evaluations = outcome.evaluations
    for failure in outcome.failures.values():
        report.note(f"search: a network could not be evaluated in {failure.attempts} attempts: {failure.reason}")
    tried = len(evaluations) + outcome.num_dropped
    if outcome.num_dropped:
        report.note(f"search: {outcome.num_dropped} of {tried} networks were {search.dropping}")
    if tried < plan.settings.trials:
        report.note(f"search: found no more than {tried} different networks within the limits")
    if plan.settings.sampler == "predictor" and len(evaluations) >= _MIN_EVALUATIONS:
        _report_predictor(search.space, evaluations, report)
    if not evaluations:
        raise EvaluationError("no network was evaluated to the end; add --resume with more --trials")
    result = _write_front(plan, search.space, evaluations, data)
    conclude_search(trackers, RunFolder(plan.run), result)
    update_report(plan.run, report)
    return result


def _report_predictor(space: SearchSpace, evaluations: list[Evaluation], report: ProgressReporter) -> None:
    """Report how well the predictor ranks networks that it was not fitted to."""
    archs, accuracies = [], []
    for evaluation in evaluations:
        archs.append(evaluation.arch)
        accuracies.append(evaluation.accuracy)
    tau = cross_validation(space, archs, accuracies).tau
    report.note(f"predictor: 5-fold cross-validated Kendall's tau {tau:.2f} on {len(archs)} evaluations")


def _write_front(plan: SearchPlan, space: SearchSpace, evaluations: list[Evaluation], data: Data) -> SearchResult:
    """Write the Pareto front of the evaluations, measured on the data set's search-val, into the run."""
    config, task = plan.config, TASKS[data.task]
    own_metric = plan.settings.own_metric
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
        trained_epochs=config.recipe.epochs if plan.settings.trains else None,
        chance=None if own_metric else task.chance(data.val.labels, data.classes),
        front=tuple(front),
        best=front.index(most_accurate(front)),
    )
    RunFolder(plan.run).write_front(result, evaluated, render(front_figure(result, evaluated)))
    return result
