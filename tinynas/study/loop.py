"""The search: evaluate networks within a budget, one trial of an Optuna study after the other.

Costs are free to compute and evaluations are not: no network over the budget is evaluated, and none twice. Any number
of processes may search one study together, and a search that was killed resumes where it was (see storage.py).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import log10, nan
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState

from ..arch.arch import Arch
from ..arch.cost import Cost
from ..utils.io import json_digest
from ..utils.rng import generator
from .feasible import Feasible
from .history import Evaluation
from .samplers import SAMPLERS, FeasibleSampler
from .storage import ARCH, open_storage, quiet_optuna, requeue, requeue_stale_trials, storage_errors

_DIGEST = "digest"  # user attribute of an evaluated trial: of its genes, values, arch and cost
_OF = " of supernet "  # in a study's name, between the limits and the weights
_START_POINTS = 8  # the smallest network, the largest that fits, and others between them
_POLL = 0.2  # seconds between checks of what other processes have done


AfterTrial = Callable[[list[Evaluation], int], None]


def search(
    feasible: Feasible,
    evaluate: Callable[[Arch], float],
    *,
    storage: str,
    trials: int,
    weights: str = "",
    sampler: str = "predictor",
    pareto: bool = False,
    seed: int = 0,
    after_trial: AfterTrial | None = None,
) -> list[Evaluation]:
    """Evaluate networks within the budget until the study has `trials` of them, or all there are; return them.

    Args:
        feasible: The networks to choose from.
        evaluate: Returns the accuracy of a network in percent. Not called for what any study of the same weights has.
        storage: Path of a journal file, or URL of a database, with a study for each budget, source of measured costs
            and weights.
        trials: Number of networks, including those that the study already has.
        weights: Identifies the weights that are evaluated.
        sampler: Name of one of `SAMPLERS`.
        pareto: Search for a Pareto front of accuracy and MACs, instead of the highest accuracy.
        seed: Of the start points and the sampler.
        after_trial: Called after every trial, and while waiting for other processes, with the evaluations so far and
            the number of infeasible samples that this process rejected.

    Raises:
        BudgetError: No network fits.
        InputError: The storage's URL cannot be used.
        FileError: The study cannot be used.
    """
    feasible.check()
    trials = trials if feasible.space.genes() else 1
    proposals = FeasibleSampler(feasible, SAMPLERS[sampler], seed=seed)
    with storage_errors(storage), quiet_optuna():
        study = optuna.create_study(
            study_name=_study_name(feasible, weights, pareto=pareto),
            storage=open_storage(storage),
            sampler=proposals,
            directions=["maximize", "minimize"] if pareto else ["maximize"],
            load_if_exists=True,
        )
        for arch in feasible.start_points(min(_START_POINTS, trials), generator(seed, "start points")):
            study.enqueue_trial(feasible.space.encode(arch), skip_if_exists=True)
        return _run_trials(_Objective(study, feasible, evaluate, trials), proposals, after_trial)


def _run_trials(
    objective: "_Objective", proposals: FeasibleSampler, after_trial: AfterTrial | None
) -> list[Evaluation]:
    """Run trials until the study has enough evaluations, or no network is left to propose or being evaluated."""
    study, trials = objective.study, objective.trials
    exhausted = False
    intact: set[int] = set()
    while True:
        requeue_stale_trials(study)
        evaluations = _evaluations(study, intact)
        running = len(study.get_trials(deepcopy=False, states=[TrialState.RUNNING]))
        if after_trial is not None:
            after_trial(evaluations, proposals.rejected)
        if len(evaluations) >= trials or (exhausted and not running):
            return evaluations
        if exhausted or len(evaluations) + running >= trials:
            time.sleep(_POLL)  # other processes evaluate the last networks; if one of them fails, try again
            exhausted = False
        else:
            study.optimize(objective, n_trials=1)
            exhausted = proposals.exhausted


@dataclass(frozen=True)
class _Objective:
    """The objective of the study: evaluates a trial's network, unless that is not needed."""

    study: optuna.Study
    feasible: Feasible
    evaluate: Callable[[Arch], float]
    trials: int

    def __call__(self, trial: optuna.Trial) -> list[float]:
        """Return accuracy and, for a Pareto front, log10 MACs; NaN, which fails the trial, if it is not needed."""
        genes = {}
        for name, count in self.feasible.space.genes().items():
            genes[name] = trial.suggest_int(name, 0, count - 1)
        arch = self.feasible.space.decode(genes)
        cost = self.feasible.cost_of(arch)
        if not self._fits(trial, arch, cost) or not self._is_needed(trial):
            return [nan] * len(self.study.directions)
        accuracy = self._known_accuracy(arch)
        if accuracy is None:
            try:
                accuracy = self.evaluate(arch)
            except BaseException:
                requeue(self.study, self.study.trials[trial.number])
                raise
        values = [accuracy, log10(cost.macs)][: len(self.study.directions)]
        trial.set_user_attr(_DIGEST, _digest(trial.params, values, trial.user_attrs))
        return values

    def _fits(self, trial: optuna.Trial, arch: Arch, cost: Cost) -> bool:
        """Record arch, cost and constraints on the trial; return whether the cost, as this process measures it, fits.

        A queued trial of another process may not fit here, as its latency was measured there.
        """
        trial.set_user_attr(ARCH, arch.to_dict())
        trial.set_user_attr("cost", cost.to_dict())
        excess = self.feasible.budget.excess(cost)
        for name, value in excess.items():
            trial.set_constraint(name, value)
        return all(value <= 0 for value in excess.values())

    def _is_needed(self, trial: optuna.Trial) -> bool:
        """Return whether no other trial has the network, and the trials before this one are not enough.

        Each process records its network before it looks at the others', so that of two processes with the same network
        at least one notices.
        """
        before = 0
        for other in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.RUNNING)):
            if other.number == trial.number:
                continue
            if other.params == trial.params:
                return False
            if other.state == TrialState.COMPLETE or other.number < trial.number:
                before += 1
        return before < self.trials

    def _known_accuracy(self, arch: Arch) -> float | None:
        """Return the accuracy of the network in any study of the same weights, or None."""
        storage, plain = self.study._storage, arch.to_dict()
        _, _, weights = self.study.study_name.partition(_OF)
        for name in optuna.get_all_study_names(storage):
            if name.partition(_OF)[2] != weights:
                continue
            study = optuna.load_study(study_name=name, storage=storage)
            for trial in study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]):
                if trial.user_attrs[ARCH] == plain:
                    _check_digest(trial)
                    return float(trial.values[0])
        return None


def _study_name(feasible: Feasible, weights: str, *, pareto: bool) -> str:
    """Return the name of a study, with the limits to the last digit: "macs <= 60000 of supernet 1f3a".

    Figures of a source of measured costs with a digest are another study's than those of one with another digest.
    """
    prefix = "front, " if pareto else ""
    source = feasible.measured.digest[:12] if feasible.measured else ""
    suffix = f" by {source}" if source else ""
    return f"{prefix}{feasible.budget.describe(exact=True)}{suffix}{_OF}{weights}"


def _evaluations(study: optuna.Study, intact: set[int]) -> list[Evaluation]:
    """Return the evaluations of the completed trials.

    Args:
        study: The study.
        intact: Numbers of the trials whose digests have been checked; those of the others are added.
    """
    evaluations = []
    for trial in study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]):
        if trial.number not in intact:
            _check_digest(trial)
            intact.add(trial.number)
        arch, cost = Arch.from_dict(trial.user_attrs[ARCH]), Cost(**trial.user_attrs["cost"])
        evaluations.append(Evaluation(arch=arch, accuracy=trial.values[0], cost=cost))
    return evaluations


def _digest(genes: dict[str, Any], values: list[float], attributes: dict[str, Any]) -> str:
    """Return the digest of a network's evaluation: its genes, accuracy (and log10 MACs), arch and cost."""
    return json_digest([genes, values, attributes[ARCH], attributes["cost"]])


def _check_digest(trial: FrozenTrial) -> None:
    """Raise Optuna's StorageInternalError if a trial is not as it was evaluated; earlier versions wrote no digest."""
    expected = trial.user_attrs.get(_DIGEST)
    if expected is not None and expected != _digest(trial.params, trial.values, trial.user_attrs):
        raise StorageInternalError(f"trial {trial.number} is damaged, it is not what its {_DIGEST} says")
