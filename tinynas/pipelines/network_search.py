"""A search of networks by one process, of as many as search the same study together, however it evaluates them."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Protocol

from ..arch.arch import Arch
from ..arch.space import SearchSpace
from ..data.base import Data
from ..experiment.run_folder import RunFolder
from ..experiment.search_plan import SearchPlan
from ..study.attempt import EvaluateOrDrop
from ..study.feasible import Feasible
from ..study.index import SearchOutcome
from ..study.loop import AfterTrial
from ..study.loop import search as search_space
from ..utils.processes import exit_on_sigterm
from .search_progress import SearchProgress, SearchState
from .worker_processes import Messages, WorkerTask


class NetworkSearch(Protocol):
    """A search by this process."""

    @property
    def plan(self) -> SearchPlan:
        """The plan of the search."""

    @property
    def space(self) -> SearchSpace:
        """The search space, fitted to the data set."""

    @property
    def data(self) -> Data:
        """The data set."""

    @property
    def dropping(self) -> str:
        """What happened to the networks that were not evaluated to the end: "dropped after a part of search-val"."""

    def run(self, *, after_trial: AfterTrial, note: Callable[[str], None]) -> SearchOutcome:
        """Search until the study is complete; the arguments are those of `tinynas.study.loop.search`."""

    def task(self, threads: int) -> WorkerTask:
        """Return what a worker is sent to search beside this process, given its number of threads."""


def search_study(
    plan: SearchPlan,
    feasible: Feasible,
    evaluate: Callable[[Arch], float],
    *,
    evaluate_or_drop: EvaluateOrDrop | None,
    weights: str,
    after_trial: AfterTrial,
    note: Callable[[str], None],
) -> SearchOutcome:
    """Search the plan's study, which is kept where the plan says, by default in the run.

    The other arguments are those of `tinynas.study.loop.search`.
    """
    return search_space(
        feasible.with_predictor(plan.objectives),
        evaluate,
        evaluate_or_drop=evaluate_or_drop,
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


def search_as_worker(search: NetworkSearch, messages: Messages) -> None:
    """Search as a worker, which sends the state of the study as it knows it."""

    def show(state: SearchState) -> None:
        """Send a state."""
        messages.send("state", asdict(state))

    progress = SearchProgress(show, search.plan.front_costs)
    messages.ready()
    with exit_on_sigterm():  # earlier, there is nothing to release
        search.run(after_trial=progress.after_trial, note=messages.note)
