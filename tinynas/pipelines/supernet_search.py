"""Search of a trained supernet by this process, of as many as search the same study together."""

from collections.abc import Callable

from ..arch.arch import Arch
from ..data.base import Data
from ..experiment.reporter import ProgressReporter
from ..experiment.run_folder import RunFolder
from ..experiment.search_plan import SearchPlan
from ..kernels.threads import all_threads_for_kernels
from ..models.model_file import digest
from ..models.supernet import Supernet
from ..study.attempt import Attempt, EvaluateOrDrop
from ..study.evaluator import SubnetEvaluator
from ..study.feasible import Feasible
from ..study.index import SearchOutcome
from ..study.loop import AfterTrial
from ..study.loop import search as search_space
from ..study.racing import Race
from .search_limits import feasible_networks
from .search_progress import SearchProgress, SearchState


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
    weights = f"supernet {digest(supernet.state_dict())[:12]}"
    if plan.settings.evaluate:
        weights += f" by {plan.settings.evaluate}"
    with all_threads_for_kernels(supernet.fused):
        return search_space(
            feasible.with_predictor(plan.objectives),
            evaluator,
            evaluate_or_drop=_race(plan, evaluator, feasible) if plan.settings.race else None,
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


def _race(plan: SearchPlan, evaluator: SubnetEvaluator, feasible: Feasible) -> EvaluateOrDrop:
    """Return what races networks."""
    race = Race(evaluator, feasible, objectives=plan.objectives)

    def evaluate_or_drop(arch: Arch, attempt: Attempt) -> float:
        """Return the accuracy of a network, unless it cannot win."""
        return race(arch, attempt.evaluations)

    return evaluate_or_drop
