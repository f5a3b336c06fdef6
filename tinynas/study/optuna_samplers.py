"""Optuna's TPE and NSGA-II, reading a bounded choice of the evaluations: no proposal takes longer than an early one.

Optuna's samplers read all trials of a study. Here the study is one in memory, with the trials that they need.
"""

from array import array
from collections.abc import Container, Sequence
from math import log10
from operator import attrgetter

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.samplers import NSGAIISampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ..arch.arch import Arch
from ..arch.space import SearchSpace
from ..utils.pareto import pareto_front
from .feasible import Feasible
from .history import Evaluation, History
from .shared_study import directions_of, gene_distributions
from .storage import quiet_optuna

_POPULATION = 20  # of nsga2
_GENERATION = "NSGAIISampler:generation"  # system attribute of a trial, by which Optuna finds a population
_TRIALS = 250  # that tpe reads; from 241 on, Optuna takes 25 of them as good, its largest number for one objective
_GOOD = 25
_NEWEST = 125
_READ_AT_ONCE = 250  # evaluations that are compared with the candidates, each with each
_NAME = "choice"

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


class TPE:
    """Tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), of all genes jointly.

    It reads the best evaluations, the newest, and evenly spaced older ones. Pending networks count as bad ones, so that
    workers do not propose alike (constant liar).
    """

    def __init__(self, feasible: Feasible, *, objectives: Sequence[str]) -> None:
        self._trials = _Trials(feasible.space, objectives)
        self._objectives = objectives
        self._genes: list[bytes] = []  # of the evaluations read so far
        self._points = array("d")  # their costs and accuracies, one after the other
        self._candidates: Indices = np.arange(0)  # those of them that may be among the best of a front

    def propose(self, history: History, rng: np.random.Generator) -> Arch | None:
        """Return a network that is likely among the good ones; None while there are few evaluations."""
        evaluations, trials = history.evaluations, self._trials
        first_new = len(self._genes)
        for evaluation in evaluations[first_new:]:
            self._genes.append(trials.genes(evaluation.arch))
            self._points.extend(evaluation.point(self._objectives))
        chosen = []
        points = np.array(self._points).reshape(-1, len(self._objectives) + 1)
        if self._objectives:
            for start in range(first_new, len(points), _READ_AT_ONCE):
                added = np.arange(start, min(start + _READ_AT_ONCE, len(points)))
                self._candidates = may_be_best(points, np.append(self._candidates, added))
        for i in choose_evaluations(points, self._candidates).tolist():
            chosen.append(trials.evaluated(i, self._genes[i], evaluations[i]))
        for number, arch in enumerate(history.pending, start=len(evaluations)):
            chosen.append(trials.running(number, trials.genes(arch)))
        new = trials.running(len(evaluations) + len(history.pending))
        sampler = TPESampler(multivariate=True, constant_liar=True, seed=int(rng.integers(2**31)))
        genes = sampler.sample_relative(trials.study(chosen), new, trials.distributions)
        return trials.space.decode(genes) if genes else None


class NSGAII:
    """Non-dominated sorting genetic algorithm (Deb et al., 2002).

    Every 20 evaluations are a generation; the parents of the next are the elite of the generation and its parents.
    """

    def __init__(self, feasible: Feasible, *, objectives: Sequence[str]) -> None:
        self._trials = _Trials(feasible.space, objectives)
        self._read = 0  # number of evaluations in `_population` and in generations before it
        self._population: list[FrozenTrial] = []  # the last generation and its parents

    def propose(self, history: History, rng: np.random.Generator) -> Arch | None:
        """Return a child of the elite; None until the first generation is complete."""
        while self._read + _POPULATION <= len(history.evaluations):
            self._add_generation(history.evaluations[self._read : self._read + _POPULATION])
        if not self._population:
            return None
        sampler = NSGAIISampler(population_size=_POPULATION, seed=int(rng.integers(2**31)))
        trials = self._trials
        child = trials.running(len(history.evaluations), generation=1)
        genes = sampler.sample_relative(trials.study(self._population), child, trials.distributions)
        for name, count in trials.space.genes().items():
            if name not in genes:  # Optuna leaves out what mutates
                genes[name] = int(rng.integers(count))
        return trials.space.decode(genes)

    def _add_generation(self, evaluations: Sequence[Evaluation]) -> None:
        """Add a generation to the elite of the ones before."""
        trials, parents = self._trials, []
        if self._population:
            selection = NSGAIISampler(population_size=_POPULATION)
            parents = selection.get_parent_population(trials.study(self._population), 1)
            parents.sort(key=attrgetter("number"))
        generation = []
        for number, evaluation in enumerate(evaluations, start=self._read):
            generation.append(trials.evaluated(number, trials.genes(evaluation.arch), evaluation))
        self._population = generation + parents
        self._read += len(generation)


class _Trials:
    """Optuna trials of the networks of a space, and studies of them."""

    def __init__(self, space: SearchSpace, objectives: Sequence[str]) -> None:
        self.space, self._objectives = space, objectives
        self.distributions = gene_distributions(space.genes())
        self._storage = _ListStorage(num_values=1 + len(objectives))

    def study(self, trials: list[FrozenTrial]) -> Study:
        """Return the study of these trials; the studies returned before have them too."""
        self._storage.trials = trials
        return optuna.load_study(study_name=_NAME, storage=self._storage)

    def genes(self, arch: Arch) -> bytes:
        """Return the arch's option indices, which take less memory than a mapping."""
        return bytes(self.space.encode(arch).values())

    def evaluated(self, number: int, genes: bytes, evaluation: Evaluation) -> FrozenTrial:
        """Return the trial of an evaluation."""
        values = [evaluation.accuracy]
        for cost in evaluation.point(self._objectives)[:-1]:
            values.append(log10(cost))
        return self._trial(number, TrialState.COMPLETE, genes, values, generation=0)

    def running(self, number: int, genes: bytes = b"", *, generation: int = 0) -> FrozenTrial:
        """Return the trial of a network without an evaluation, or, without genes, of one to be proposed."""
        return self._trial(number, TrialState.RUNNING, genes, None, generation=generation)

    def _trial(
        self, number: int, state: TrialState, genes: bytes, values: list[float] | None, *, generation: int
    ) -> FrozenTrial:
        params = dict(zip(self.distributions, genes, strict=True)) if genes else {}
        return FrozenTrial(
            number=number,
            trial_id=number,
            state=state,
            value=None,
            values=values,
            datetime_start=None,
            datetime_complete=None,
            params=params,
            distributions=self.distributions if genes else {},
            user_attrs={},
            system_attrs={_GENERATION: generation},
            intermediate_values={},
        )


class _ListStorage(InMemoryStorage):
    """A storage with one study, whose trials are a list that can be replaced."""

    def __init__(self, *, num_values: int) -> None:
        super().__init__()
        self.trials: list[FrozenTrial] = []
        with quiet_optuna():
            self.create_new_study(directions_of(num_values), _NAME)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials in these states, not copied: samplers do not change them."""
        return [trial for trial in self.trials if states is None or trial.state in states]

    def set_study_system_attr(self, study_id: int, key: str, value: object) -> None:
        """Do nothing: a sampler would keep which trials are parents, but the trials are replaced."""

    def set_trial_system_attr(self, trial_id: int, key: str, value: object) -> None:
        """Do nothing: a sampler would tell other processes what it proposes."""


def choose_evaluations(points: Floats, candidates: Indices) -> Indices:
    """Choose the evaluations that TPE reads.

    Args:
        points: Costs of the front, if one is searched for, and accuracies of all evaluations (N, costs + 1). Without
            costs, the best are those of the highest accuracies.
        candidates: With costs, the indices that `may_be_best` returns.

    Returns:
        The ascending indices of at most 250 evaluations: the 25 best, the 125 newest, and evenly spaced older ones.
    """
    if len(points) <= _TRIALS:
        return np.arange(len(points))
    has_costs = points.shape[1] > 1
    best = _best_of_fronts(points, candidates) if has_costs else np.argsort(-points[:, 0], kind="stable")[:_GOOD]
    is_other = np.ones(len(points), bool)
    is_other[best] = False
    others = np.flatnonzero(is_other)
    older, newest = others[:-_NEWEST], others[-_NEWEST:]
    spaced = np.linspace(0, len(older) - 1, _TRIALS - _GOOD - _NEWEST).round().astype(int)
    return np.sort(np.concatenate([best, older[spaced], newest]))


def may_be_best(points: Floats, among: Indices) -> Indices:
    """Return the evaluations that fewer than 25 others beat.

    Those that beat an evaluation are on earlier fronts than it, so the best 25 are among these. An evaluation that is
    not will not be when others are added, and those that beat it suffice to leave out what it beats. So it is enough to
    compare these and new evaluations.

    Args:
        points: Costs and accuracies of all evaluations (N, costs + 1).
        among: Ascending indices of the evaluations to choose from.

    Returns:
        Ascending indices.
    """
    gains = points[among] * np.array([-1.0] * (points.shape[1] - 1) + [1.0])  # (M, costs + 1), the larger, the better
    as_good = (gains[:, None] >= gains[None]).all(-1)  # (M, M), whether a row's is as good as a column's
    first = np.arange(len(among))[:, None] < np.arange(len(among))  # of two equal ones, the first is kept
    beats = as_good & (first | ~as_good.T)
    kept: Indices = among[beats.sum(0) < _GOOD]
    return kept


def _best_of_fronts(points: Floats, candidates: Indices) -> Indices:
    """Return the indices of 25 evaluations: of the Pareto front, of what is the front without it, and so on.

    The last of these fronts is thinned evenly along the first cost.
    """
    rows = dict(zip(candidates.tolist(), map(tuple, points[candidates].tolist()), strict=True))
    good: list[Indices] = []
    missing = _GOOD
    while missing > 0:
        front = np.array(pareto_front(list(rows), rows.__getitem__))
        for index in front.tolist():
            del rows[index]
        if len(front) > missing:
            front = front[np.linspace(0, len(front) - 1, missing).round().astype(int)]
        good.append(front)
        missing -= len(front)
    return np.concatenate(good)
