"""The sampler that proposes the network with the highest expected improvement by the accuracy predictor."""

from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from ..arch.arch import Arch
from .feasible import Feasible
from .history import Evaluation, History
from .mutation import mutate
from .predictor import ArchFeatures, Features, Floats, Hyperparameters, Predictor, select_points

_WARM_UP = 24  # evaluations before the predictor is used
_GROWTH = 10  # hyperparameters are fitted again after a tenth more evaluations
_MAX_FITTED = 150  # evaluations that hyperparameters are fitted to: the time grows with their cube
_MAX_POINTS = 250  # evaluations that predictions are based on
_MIN_DEVIATION = 1e-9  # percentage points
_PARENTS = 10  # best networks so far, whose mutants are the candidates
_CANDIDATES = 100  # per generation
_GENERATIONS = 3


class PredictorSampler:
    """Proposes the network with the highest expected improvement by a predictor fitted to the evaluations so far.

    The first networks are random. For a Pareto front of accuracy and costs, such as MACs, a largest value of each cost
    is drawn at random for every proposal (log-uniform), and the improvement is the one on the best network within them.
    Pending networks count as evaluated, with their predicted accuracies, so that workers do not propose alike.
    """

    def __init__(self, feasible: Feasible, *, objectives: Sequence[str]) -> None:
        self._feasible, self._objectives = feasible, objectives
        self._arch_features = ArchFeatures(feasible.space)
        self._features: list[Features] = []  # (F,) of every evaluation read so far
        self._points = array("d")  # their costs and accuracies, one after the other
        self._num_fitted = 0
        self._hyperparameters: Hyperparameters | None = None  # fitted to the first `_num_fitted` evaluations

    def propose(self, history: History, rng: np.random.Generator) -> Arch | None:
        """Return the network with the highest expected improvement; None if there is no new one, or at first."""
        self._read(history.evaluations)
        if len(self._features) < _WARM_UP:
            return None
        values = np.array(self._points).reshape(len(self._features), -1)
        costs, accuracies = values[:, :-1], values[:, -1]
        region = _Region.draw(self._feasible.predicted, self._objectives, costs, rng)
        is_inside: NDArray[np.bool_] = np.all(costs <= region.largest, axis=1)
        points = select_points(accuracies, _MAX_POINTS, preferred=is_inside)
        predictor = Predictor(self._fitted_hyperparameters(), self._stack(points), accuracies[points])
        best = accuracies[points[0]]
        if history.pending:
            pending = list(history.pending)
            features = self._arch_features(pending)
            fantasies, _ = predictor(features)
            predictor = predictor.with_evaluations(features, fantasies)
            best = fantasies[[arch in region for arch in pending]].max(initial=best)
        improvement = _ExpectedImprovement(self._arch_features, predictor, best)
        parents = [history.evaluations[i].arch for i in points[:_PARENTS].tolist() if is_inside[i]]
        return _evolve(self._feasible, improvement, parents, taken=history.taken, region=region, rng=rng)

    def _read(self, evaluations: Sequence[Evaluation]) -> None:
        """Keep what predictors need of the evaluations that are new."""
        new = evaluations[len(self._features) :]
        self._features.extend(self._arch_features([evaluation.arch for evaluation in new]))
        for evaluation in new:
            self._points.extend(evaluation.point(self._objectives))

    def _stack(self, indices: NDArray[np.intp]) -> Features:
        return np.stack([self._features[i] for i in indices])

    def _fitted_hyperparameters(self) -> Hyperparameters:
        """Return the hyperparameters fitted to the first evaluations, whose number grows by a tenth at a time.

        That number depends on the number of evaluations alone, so that a resumed search fits to the same ones.
        """
        number = _WARM_UP
        while number + number // _GROWTH <= len(self._features):
            number += number // _GROWTH
        if self._hyperparameters is None or number != self._num_fitted:
            accuracies = np.array(self._points).reshape(len(self._features), -1)[:number, -1]
            points = select_points(accuracies, _MAX_FITTED)
            self._hyperparameters = Hyperparameters.fit(self._stack(points), accuracies[points])
            self._num_fitted = number
        return self._hyperparameters


@dataclass(frozen=True)
class _Region:
    """The archs whose costs are no larger than some values; `arch in region` tests one, by predicted costs.

    Attributes:
        feasible: Where costs come from.
        names: Names of the costs; without any, all archs are in the region.
        largest: Largest value of each.
    """

    feasible: Feasible
    names: Sequence[str]
    largest: Sequence[float]

    @classmethod
    def draw(cls, feasible: Feasible, names: Sequence[str], costs: Floats, rng: np.random.Generator) -> "_Region":
        """Draw a region with at least one of the evaluations, whose costs (N, costs) are given."""
        largest = [_log_uniform(column, rng) for column in costs.T]
        if not (costs <= largest).all(1).any():
            largest = costs[rng.integers(len(costs))].tolist()
        return cls(feasible, names, largest)

    def __contains__(self, arch: Arch) -> bool:
        values = self.feasible.values(arch, self.names)
        return all(value <= limit for value, limit in zip(values, self.largest, strict=True))


@dataclass(frozen=True)
class _ExpectedImprovement:
    """Returns the expected improvement of archs over the best accuracy (Jones et al., 1998, section 4.1)."""

    features: ArchFeatures
    predictor: Predictor
    best: float

    def __call__(self, archs: Sequence[Arch]) -> Floats:
        means, deviations = self.predictor(self.features(archs))
        deviations = np.maximum(deviations, _MIN_DEVIATION)
        z = (means - self.best) / deviations
        gains: Floats = deviations * (z * norm.cdf(z) + norm.pdf(z))
        return gains


def _evolve(
    feasible: Feasible,
    improvement: _ExpectedImprovement,
    parents: Sequence[Arch],
    *,
    taken: Collection[Arch],
    region: _Region,
    rng: np.random.Generator,
) -> Arch | None:
    """Return the feasible arch with the highest expected improvement that is not taken, or None if there is none.

    Candidates are repaired mutants of the parents, over a few generations.
    """
    gains: dict[Arch, float] = {}  # expected improvement by candidate
    for _ in range(_GENERATIONS):
        candidates = []
        for arch in _mutants(feasible, parents, rng):
            if arch not in taken and arch not in gains and arch in region:
                candidates.append(arch)
        if candidates:
            gains.update(zip(candidates, improvement(candidates).tolist(), strict=True))
            parents = sorted(gains, key=gains.__getitem__, reverse=True)[:_PARENTS]
    for arch in sorted(gains, key=gains.__getitem__, reverse=True):
        if arch in feasible:
            return arch
    return None


def _log_uniform(costs: Floats, rng: np.random.Generator) -> float:
    """Draw a number between the smallest and the largest, log-uniform."""
    low, high = np.log([costs.min(), costs.max()])
    return max(float(costs.min()), float(np.exp(rng.uniform(low, high))))


def _mutants(feasible: Feasible, parents: Sequence[Arch], rng: np.random.Generator) -> list[Arch]:
    """Return different mutants of randomly chosen parents that are feasible, as far as counts and predictions tell."""
    genes = [feasible.space.encode(parent) for parent in parents]
    mutants: dict[Arch, None] = {}  # ordered, unlike a set
    for i in rng.integers(len(parents), size=_CANDIDATES).tolist():
        mutant = feasible.predicted.repair(mutate(feasible.space, genes[i], rng), rng)
        if mutant is not None:
            mutants[mutant] = None
    return list(mutants)
