"""What a study's trials say: each trial is read and its network decoded once, however often the study is looked at."""

from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from ..arch.arch import Arch
from ..arch.cost import Cost
from ..arch.space import SearchSpace
from .feasible import Feasible
from .history import Evaluation, History
from .shared_study import SharedStudy
from .workers import Worker

COST = "cost"  # user attribute of a trial: its network's cost
WORKER = "worker"  # user attribute of a trial: who evaluates it
HEARTBEAT = "heartbeat"  # user attribute of a running trial: how often its worker has been heard of
FAILURE = "failure"  # user attribute of a failed trial: why its network could not be evaluated
ESTIMATE = "estimated accuracy"  # user attribute of a pruned trial, in percent: its network was dropped
FINAL = "final"  # user attribute of a failed trial whose network is not to be tried again
SURPLUS = "surplus"  # user attribute of a failed trial of a new network: others had begun enough, or the same one
MAX_ATTEMPTS = 3  # to evaluate a network, by all workers together


def failed_because(reason: str, *, final: bool = False) -> dict[str, Any]:
    """Return the user attributes of a failed trial.

    Args:
        reason: Why its network could not be evaluated.
        final: Whether the network is not to be tried again.
    """
    return {FINAL: True, FAILURE: reason} if final else {FAILURE: reason}


@dataclass(frozen=True, kw_only=True)
class Running:
    """A trial that a worker evaluates."""

    number: int
    trial_id: int
    arch: Arch
    worker: Worker | None  # None if the trial does not say who, as trials of earlier versions
    heartbeat: int


@dataclass(kw_only=True)
class Failure:
    """A network that could not be evaluated: the reason of the last attempt, and how many there were."""

    reason: str
    attempts: int = 0
    final: bool = False

    @property
    def is_final(self) -> bool:
        """Whether the network is not tried again."""
        return self.final or self.attempts >= MAX_ATTEMPTS


@dataclass(frozen=True, kw_only=True)
class SearchOutcome:
    """What a study has: the evaluations, the number of dropped networks, and those that could not be evaluated."""

    evaluations: list[Evaluation]
    num_dropped: int
    failures: dict[Arch, Failure]


class TrialIndex:
    """The networks of a study by what has become of them.

    Attributes:
        evaluations: Those evaluated, in the order in which this process learned of them.
        num_dropped: Number of those that were dropped, as they could not win.
        running: Trials that workers evaluate now, by number.
        failures: Networks with failed attempts, also those that were evaluated after all.
        waiting: Networks to be tried again, in the order in which this process learned of it: an attempt failed, or its
            worker stopped.
        known: All networks that any trial has, but for those that nobody began to evaluate.
    """

    def __init__(self, study: SharedStudy, space: SearchSpace) -> None:
        self.evaluations: list[Evaluation] = []
        self.num_dropped = 0
        self.running: dict[int, Running] = {}
        self.failures: dict[Arch, Failure] = {}
        self.waiting: dict[Arch, None] = {}  # ordered, unlike a set
        self.known: set[Arch] = set()
        self._study = study
        self._space = space
        self._with_estimates: list[Evaluation] = []  # also the dropped networks, with their estimated accuracies
        self._done: set[Arch] = set()  # evaluated or dropped
        self._num_read = 0

    def begin(self, arch: Arch, feasible: Feasible, worker: Worker) -> Running:
        """Create a trial of a network, which tells other workers that this one evaluates it, and refresh."""
        cost = feasible.cost_of(arch)
        trial_id = self._study.begin(
            self._space.encode(arch),
            {COST: cost.to_dict(), WORKER: worker.to_dict()},
            constraints=feasible.budget.excess(cost),
        )
        self.refresh()
        for running in self.running.values():
            if running.trial_id == trial_id:
                return running
        raise AssertionError(f"trial {trial_id} was created by this process")

    def refresh(self) -> None:
        """Read the trials that are new or were running before."""
        running = list(self.running)
        trials = self._study.trials(self._num_read, running)
        self._num_read += len(trials) - len(running)
        for trial in trials:
            self._read(trial)

    @property
    def num_done(self) -> int:
        """The number of networks that were evaluated or dropped."""
        return len(self._done)

    def outcome(self) -> SearchOutcome:
        """Return what the study has."""
        return SearchOutcome(
            evaluations=self.evaluations, num_dropped=self.num_dropped, failures=self.failed_for_good()
        )

    def history(self) -> History:
        """Return what a sampler is given."""
        pending = [running.arch for running in self.running.values()]
        return History(evaluations=self._with_estimates, pending=pending, taken=self.known)

    def is_needed(self, number: int) -> bool:
        """Return whether a running trial's network is to be evaluated: no other trial has done or begun it before."""
        arch = self.running[number].arch
        if arch in self._done:
            return False
        return all(number <= other.number for other in self.running.values() if other.arch == arch)

    def failed_for_good(self) -> dict[Arch, Failure]:
        """Return the networks that could not be evaluated, and are not tried again."""
        failed = {}
        for arch, failure in self.failures.items():
            if failure.is_final and arch not in self._done:
                failed[arch] = failure
        return failed

    def _read(self, trial: FrozenTrial) -> None:
        """Read a trial that is new or has changed; trials of other programs, without genes or cost, are ignored."""
        running = self.running.pop(trial.number, None)
        if running is None:
            if COST not in trial.user_attrs or not self._study.has_genes(trial):
                return
            self._study.share_distributions(trial)
        arch = running.arch if running else self._space.decode(trial.params)
        self.known.add(arch)
        if trial.state == TrialState.RUNNING:
            self.waiting.pop(arch, None)
            self.running[trial.number] = _running(trial, arch)
        elif trial.state == TrialState.COMPLETE:
            self._finish(arch, trial, trial.values[0])
        elif trial.state == TrialState.PRUNED:
            self._finish(arch, trial, trial.user_attrs[ESTIMATE])
        elif SURPLUS in trial.user_attrs:
            self._forget(arch)
        elif trial.state == TrialState.FAIL:
            self._add_failure(arch, trial)

    def _finish(self, arch: Arch, trial: FrozenTrial, accuracy: float) -> None:
        """Add a network that was evaluated, or dropped with an estimated accuracy; the first of its trials counts."""
        if arch in self._done:
            return
        evaluation = Evaluation(arch=arch, accuracy=accuracy, cost=Cost(**trial.user_attrs[COST]))
        self._with_estimates.append(evaluation)
        if trial.state == TrialState.COMPLETE:
            self.evaluations.append(evaluation)
        else:
            self.num_dropped += 1
        self._done.add(arch)
        self.waiting.pop(arch, None)

    def _forget(self, arch: Arch) -> None:
        """Forget a network that nobody began to evaluate, unless another trial has it too."""
        is_running = any(other.arch == arch for other in self.running.values())
        if not (is_running or arch in self._done or arch in self.failures or arch in self.waiting):
            self.known.discard(arch)

    def _add_failure(self, arch: Arch, trial: FrozenTrial) -> None:
        """Count the attempt, if it was one, and let the network wait for another."""
        reason = trial.user_attrs.get(FAILURE)
        if reason is not None:
            failure = self.failures.setdefault(arch, Failure(reason=reason))
            failure.reason = reason
            failure.attempts += 1
            failure.final = failure.final or trial.user_attrs.get(FINAL, False)
        failed_for_good = arch in self.failures and self.failures[arch].is_final
        is_running = any(other.arch == arch for other in self.running.values())
        if failed_for_good or is_running or arch in self._done:
            self.waiting.pop(arch, None)
        else:
            self.waiting[arch] = None


def _running(trial: FrozenTrial, arch: Arch) -> Running:
    return Running(
        number=trial.number,
        trial_id=trial._trial_id,
        arch=arch,
        worker=Worker.from_dict(trial.user_attrs.get(WORKER)),
        heartbeat=trial.user_attrs.get(HEARTBEAT, 0),
    )
