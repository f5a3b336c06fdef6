"""Progress of a search: what a process knows of it, and one display for all processes of the command."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..experiment.metric_names import format_metric
from ..experiment.reporter import ProgressReporter
from ..experiment.trackers import SEARCH, Trackers
from ..study.history import Evaluation
from ..utils.pareto import Point, pareto_front


@dataclass(frozen=True, kw_only=True)
class SearchState:
    """How far a search is, as a process knows it.

    Attributes:
        evaluated: Number of evaluated networks.
        dropped: Number of networks that were dropped.
        best: Highest accuracy (or AP50) on search-val in percent; None without an evaluation.
        on_front: Number of networks on the Pareto front.
        rejected: Number of infeasible samples that the process rejected.
    """

    evaluated: int
    dropped: int
    best: float | None
    on_front: int
    rejected: int

    @property
    def tried(self) -> int:
        """The number of networks that were evaluated or dropped."""
        return self.evaluated + self.dropped


class SearchProgress:
    """The state of a search, kept up to date by what is new: an update costs the size of the Pareto front.

    Args:
        show: Receives the state whenever it has changed.
        costs: Names of the costs of the front.
    """

    def __init__(self, show: Callable[[SearchState], None], costs: Sequence[str] = ("macs",)) -> None:
        self._show = show
        self._costs = costs
        self._state: SearchState | None = None
        self._evaluated = 0
        self._front: list[Point] = []

    def after_trial(self, new: Sequence[Evaluation], dropped: int, rejected: int) -> None:
        """Add evaluations.

        Args:
            new: Those since the last call.
            dropped: How many networks have been dropped in all.
            rejected: How many infeasible samples this process has rejected in all.
        """
        points = [evaluation.point(self._costs) for evaluation in new]
        self._evaluated += len(points)
        self._front = pareto_front(self._front + points)
        best = max((point[-1] for point in self._front), default=None)
        state = SearchState(
            evaluated=self._evaluated, dropped=dropped, best=best, on_front=len(self._front), rejected=rejected
        )
        if state != self._state:
            self._state = state
            self._show(state)


class SearchDisplay:
    """Reports the progress of all processes that search together; its methods may be called in any thread.

    Args:
        report: Receives the progress.
        trials: Number of networks to evaluate.
        metric: What they are evaluated by.
        dropped: What is said of those that were dropped.
        trackers: Receive the figures after every network.
    """

    def __init__(
        self,
        report: ProgressReporter,
        trials: int,
        *,
        metric: str = "accuracy",
        dropped: str = "dropped",
        trackers: Trackers | None = None,
    ) -> None:
        self._report = report
        self._trials = trials
        self._metric = metric
        self._dropped = dropped
        self._trackers = trackers or Trackers()
        self._num_tracked = 0
        self._lock = threading.Lock()
        self._states: dict[int, SearchState] = {}  # by number of the process
        self._is_complete = False

    def show(self, process: int, state: SearchState) -> None:
        """Show the state of the process that knows of most networks that were evaluated or dropped."""
        with self._lock:
            self._states[process] = state
            if self._is_complete:
                return
            rejected = 0
            newest = state
            for other in self._states.values():
                rejected += other.rejected
                if other.tried > newest.tried:
                    newest = other
            text = f"{rejected} infeasible samples rejected"
            if newest.dropped:
                text = f"{newest.dropped} {self._dropped}, {text}"
            if newest.best is not None:
                best = format_metric(self._metric, newest.best, digits=1)
                text = f"best {best} on search-val, {newest.on_front} on the front, {text}"
            self._is_complete = newest.tried >= self._trials
            self._report.advance("search", min(newest.tried, self._trials), self._trials, text)
            self._track(newest, rejected)

    def _track(self, state: SearchState, rejected: int) -> None:
        """Write the figures of a state for trackers, if more networks have been tried than at the last one."""
        if state.tried > self._num_tracked:
            self._num_tracked = state.tried
            figures = {"best": state.best, "on_front": state.on_front, "dropped": state.dropped, "rejected": rejected}
            self._trackers.add(figures, step=state.tried, of=SEARCH)

    def receive(self, number: int, kind: str, content: Any) -> None:
        """Show the state that a worker has sent."""
        assert kind == "state"
        self.show(number, SearchState(**content))

    def note(self, text: str) -> None:
        """Show a message of one line."""
        with self._lock:
            self._report.note(text)
