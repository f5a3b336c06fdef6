"""The search: evaluate networks within a budget, one trial of an Optuna study after the other.

Costs are free to compute and evaluations are not: no network over the budget is evaluated, and none twice. Any number
of processes may search one study together. A network whose worker died, or whose evaluation failed, is tried again by
one of the others, three times at most; a search that was killed resumes where it was.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import log10

from optuna.samplers import BaseSampler

from ..arch.arch import Arch
from ..utils.errors import EvaluationError, TrainingError
from ..utils.rng import generator
from ..utils.text import first_line
from .attempt import Attempt, EvaluateOrDrop, without_attempt
from .feasible import Feasible
from .history import CannotWinError, Evaluation, NoNumberError, is_accuracy
from .index import ESTIMATE, HEARTBEAT, MAX_ATTEMPTS, SURPLUS, Running, SearchOutcome, TrialIndex, failed_because
from .samplers import FeasibleSampler, make_sampler
from .shared_study import Retries, SharedStudy
from .storage import quiet_optuna, storage_errors
from .study_name import best_known, evaluated_in_other_studies, study_name
from .workers import Heartbeat, Liveness, Worker

STORAGE_TIMEOUT = 600.0  # seconds
GRACE = 60.0  # seconds
_START_POINTS = 8  # the largest network that fits, the smallest one, and others between them
_BEATS = 3  # heartbeats during the grace period
_POLLS = (0.1, 2.0)  # seconds between looks at the study while waiting: at first, at most
_PATIENCE = 5.0  # seconds of waiting before it is said
_MAX_FAILURES = 3  # networks in a row, before this process has evaluated more than that

AfterTrial = Callable[[Sequence[Evaluation], int, int], None]


def _no_callback(*arguments: object) -> None:
    """Do nothing."""


def search(
    feasible: Feasible,
    evaluate: Callable[[Arch], float],
    *,
    evaluate_or_drop: EvaluateOrDrop | None = None,
    storage: str,
    trials: int,
    weights: str = "",
    sampler: str | BaseSampler = "predictor",
    objectives: Sequence[str] = (),
    seed: int = 0,
    after_trial: AfterTrial = _no_callback,
    note: Callable[[str], None] = _no_callback,
    storage_timeout: float = STORAGE_TIMEOUT,
    grace: float = GRACE,
) -> SearchOutcome:
    """Evaluate or drop networks within the budget until the study has `trials` of them, or all there are.

    Args:
        feasible: The networks to choose from.
        evaluate: Returns the accuracy of a network in percent. Not called for what a study of the same weights has. A
            network for which it raises an exception is tried three times in all; one for which it returns NaN, an
            infinity or no number, or raises a TrainingError, once. A NoNumberError ends the search.
        evaluate_or_drop: Called instead of `evaluate`, with the attempt; raises CannotWinError to drop a network.
        storage: Path of a journal file, or URL of a database or gRPC proxy (grpc://HOST:PORT), with a study for each
            budget, source of measured costs and weights.
        trials: Number of networks, including those that the study already has.
        weights: Identifies the weights that are evaluated: "supernet 1f3a".
        sampler: As `make_sampler` takes it: a name, or a sampler of Optuna.
        objectives: Names of one cost or two. Search for the Pareto front of accuracy and these, instead of for the
            highest accuracy.
        seed: Of the start points and the sampler.
        after_trial: Called after every trial, and while waiting for other workers, with the evaluations that are new
            since the last call and the number of dropped networks, of all workers, and that of infeasible samples here.
        note: Shows a line, such as that a network failed, or that the storage cannot be reached.
        storage_timeout: Seconds for which a database that cannot be reached is tried again.
        grace: Seconds without a heartbeat after which a worker on another machine counts as dead.

    Raises:
        BudgetError: No network fits.
        InputError: The storage's URL cannot be used, or a cost of the front has no source.
        NoNumberError: `evaluate` raised it.
        FileError: The study cannot be used.
        EvaluationError: Three networks in a row could not be evaluated here, and as many as were evaluated here.
    """
    feasible.check()
    feasible.values(feasible.space.min(), objectives)  # before anything is evaluated
    num_options = feasible.space.genes()
    with storage_errors(storage), quiet_optuna(), Worker.at_work() as worker:
        study = SharedStudy(
            storage,
            study_name(feasible, weights, objectives=objectives),
            objectives=objectives,
            num_options=num_options,
            retries=Retries(url=storage, timeout=storage_timeout, note=note),
        )
        run = _Search(
            study=study,
            index=TrialIndex(study, feasible.space),
            worker=worker,
            feasible=feasible,
            evaluate=evaluate_or_drop or without_attempt(evaluate),
            trials=trials if num_options else 1,
            proposals=FeasibleSampler(feasible, make_sampler(sampler, feasible, objectives=objectives, seed=seed)),
            objectives=objectives,
            seed=seed,
            after_trial=after_trial,
            note=note,
            grace=grace,
        )
        return run.run()


@dataclass(kw_only=True)
class _Search:
    """A search by this process; what has no comment is an argument of `search`."""

    study: SharedStudy
    index: TrialIndex  # of the study
    worker: Worker  # this process
    feasible: Feasible
    evaluate: EvaluateOrDrop  # or what evaluates always
    trials: int
    proposals: FeasibleSampler
    objectives: Sequence[str]
    seed: int
    after_trial: AfterTrial
    note: Callable[[str], None]
    grace: float

    def __post_init__(self) -> None:
        self.interval = self.grace / _BEATS
        self.liveness = Liveness(grace=self.grace, interval=self.interval)
        rng = generator(self.seed, "start points")
        self.start_points = self.feasible.start_points(min(_START_POINTS, self.trials), rng)
        self.evaluated_before = evaluated_in_other_studies(self.study, self.feasible)
        if not self.objectives:  # it costs nothing, and no worse one can win then
            self.start_points = best_known(self.evaluated_before, self.feasible) + self.start_points
        self._num_reported = 0
        self._random = random.Random(self.worker.id)
        self._num_evaluated = 0  # by this process
        self._failed: set[Arch] = set()  # in this process
        self._failed_in_a_row: set[Arch] = set()
        self._waiting_since: float | None = None

    def run(self) -> SearchOutcome:
        """Run trials until the study has enough evaluations, or no network is left to propose or being evaluated."""
        while True:
            self._look()
            missing = self.trials - self.index.num_done
            arch = self._next_network() if missing > len(self.index.running) else None
            if missing <= 0 or (arch is None and not self.index.running):
                return self.index.outcome()
            if arch is None:
                self._wait()
            else:
                self._waiting_since = None
                self._try(arch)

    def _look(self) -> None:
        """Read what has changed, fail the trials of dead workers, and report new evaluations."""
        self.index.refresh()
        self.liveness.keep(self.index.running)
        dead = []
        for running in self.index.running.values():
            if self.liveness.is_dead(running.number, running.worker, running.heartbeat):
                dead.append(running)
        for running in dead:
            who = str(running.worker or "the worker")
            if self.study.fail(running.trial_id, failed_because(f"{who} died, or was not heard of for too long")):
                self.note(f"{who} of trial {running.number} is gone; its network is tried again")
        if dead:
            self.index.refresh()
        new = self.index.evaluations[self._num_reported :]
        self._num_reported += len(new)
        self.after_trial(new, self.index.num_dropped, self.proposals.rejected)

    def _next_network(self) -> Arch | None:
        """Return the network to evaluate next: one to try again, a start point or a proposal; None if none is left."""
        waiting = self._waiting_networks()
        if waiting and self._takes_waiting(len(waiting)):
            return self._pick(waiting)
        start_points = [arch for arch in self.start_points if arch not in self.index.known]
        if start_points:
            return self._pick(start_points)
        # Workers that propose at the same time draw different networks; one that is alone draws the same when resumed.
        purpose = f"sampler of {self.worker.id}" if self.index.running else "sampler"
        return self.proposals.propose(self.index.history(), generator(self.seed, purpose, len(self.index.known)))

    def _waiting_networks(self) -> list[Arch]:
        """Return the networks that this process may try again.

        A network that failed here is left to other workers, if there are any: perhaps it is this one that is broken.
        A network of another process may not fit here, as its latency was measured there.
        """
        not_here = self._failed if self.index.running else ()
        return [arch for arch in self.index.waiting if arch not in not_here and arch in self.feasible]

    def _takes_waiting(self, count: int) -> bool:
        """Return whether this process takes one of a number of networks to try again.

        All workers notice them at the same time, so each takes one with such a probability that about one worker takes
        each. When no other trials are left, every worker takes one.
        """
        running = len(self.index.running)
        is_last = self.trials - self.index.num_done - running <= count
        return is_last or self._random.random() * running < count

    def _pick(self, archs: list[Arch]) -> Arch:
        """Return one of several networks, the first if no other worker may pick the same."""
        return self._random.choice(archs) if self.index.running else archs[0]

    def _wait(self) -> None:
        """Wait a moment for other workers, which evaluate the last networks; say so if it takes long."""
        now = time.monotonic()
        if self._waiting_since is None:
            self._waiting_since = now
        waited = now - self._waiting_since
        pause = min(max(_POLLS[0], waited / 10), _POLLS[1])
        if waited < _PATIENCE <= waited + pause:
            workers = {str(running.worker or "an unknown worker") for running in self.index.running.values()}
            self.note(f"waiting for the last networks, evaluated by {', '.join(sorted(workers))}")
        time.sleep(pause)

    def _try(self, arch: Arch) -> None:
        """Begin a trial of the network; evaluate it, unless others have begun enough, or the same one, before.

        The last networks are those to be tried again: a new one makes way for them.
        """
        is_new = arch not in self.index.waiting
        trial = self.index.begin(arch, self.feasible, self.worker)
        before = self.index.num_done + sum(other.number < trial.number for other in self.index.running.values())
        if is_new:
            before += len(self._waiting_networks())
        if before >= self.trials or not self.index.is_needed(trial.number):
            self.study.fail(trial.trial_id, {SURPLUS: True} if is_new else {})
            return
        with Heartbeat(partial(self.study.set_attribute, trial.trial_id, HEARTBEAT), self.interval):
            self._evaluate(trial)  # a database may be away when the trial is finished

    def _evaluate(self, trial: Running) -> None:
        """Evaluate the network of a trial, unless its accuracy is known, and finish the trial."""
        attempt = Attempt(evaluations=self.index.evaluations, study=self.study, trial_id=trial.trial_id)
        if trial.arch in self.evaluated_before:
            accuracy: object = attempt.repeat(self.evaluated_before[trial.arch])
        else:
            try:
                accuracy = self.evaluate(trial.arch, attempt)
            except CannotWinError as loss:
                self._count(trial, is_kept=self.study.prune(trial.trial_id, {ESTIMATE: loss.estimate}))
                return
            except BaseException as error:
                if isinstance(error, NoNumberError) or not isinstance(error, Exception):  # no fault of the network
                    self.study.release(trial.trial_id)
                    raise
                reason, final = first_line(str(error)), isinstance(error, TrainingError)
                self._record_failure(trial, f"{type(error).__name__}: {reason}", final=final, error=error)
                return
        if not is_accuracy(accuracy):
            self._record_failure(trial, f"the accuracy is {accuracy!r}, not a finite number", final=True)
            return
        self._complete(trial, float(accuracy))  # type: ignore[arg-type]

    def _complete(self, trial: Running, accuracy: float) -> None:
        """Finish a trial with its network's accuracy, unless another worker has taken it over meanwhile."""
        values = [accuracy]
        for cost in self.feasible.values(trial.arch, self.objectives):
            values.append(log10(cost))
        self._count(trial, is_kept=self.study.finish(trial.trial_id, values))

    def _count(self, trial: Running, *, is_kept: bool) -> None:
        """Count an evaluated or dropped network; say so if the study did not keep it, as another worker had it too."""
        self._failed_in_a_row.clear()
        self._num_evaluated += 1
        if not is_kept:
            reason = "another worker took it over, as this one had not been heard of"
            self.note(f"trial {trial.number}: {reason}; going on with another network")

    def _record_failure(
        self, trial: Running, reason: str, *, final: bool = False, error: Exception | None = None
    ) -> None:
        """Fail a trial whose network could not be evaluated. Raises EvaluationError after several in a row."""
        self.study.fail(trial.trial_id, failed_because(reason, final=final))
        self.index.refresh()
        failure = self.index.failures.get(trial.arch)
        attempts = failure.attempts if failure else 1
        next_step = "it is not tried again" if final or attempts >= MAX_ATTEMPTS else "it will be tried again"
        self.note(f"trial {trial.number} failed, attempt {attempts} at its network: {reason}; {next_step}")
        self._failed.add(trial.arch)
        self._failed_in_a_row.add(trial.arch)
        if len(self._failed_in_a_row) >= max(_MAX_FAILURES, self._num_evaluated):
            raise EvaluationError(
                f"the last {len(self._failed_in_a_row)} networks could not be evaluated, the last one because: "
                f"{reason}; correct that, then continue with --resume, or try all again with another --storage"
            ) from error
