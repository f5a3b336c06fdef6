"""An accuracy predictor: cheap to query, and only used to choose which network to evaluate next.

A Gaussian process on the encoded arch: with few evaluations it ranked networks better than trees or small neural
networks did, and it predicts its own uncertainty. Predicted accuracies are never reported.
"""

import warnings
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..arch.arch import Arch
from ..arch.cost import quick_cost
from ..arch.space import SearchSpace
from .feasible import Feasible

Floats = NDArray[np.float64]
_PARENTS = 10  # best networks so far, whose mutants are the candidates
_CANDIDATES = 100  # per generation
_GENERATIONS = 3
_MUTATIONS = 2  # expected number of genes that a mutation draws again
_MAX_EVALUATIONS = 500  # that a fit uses: its time grows with their cube
_FOLDS = 5


class Predictor:
    """Predicts the accuracy of a space's archs, fitted to evaluations."""

    def __init__(self, space: SearchSpace, archs: Sequence[Arch], accuracies: Sequence[float]) -> None:
        self._genes = space.genes()
        self._space = space
        if len(archs) > _MAX_EVALUATIONS:  # a selection from the worst to the best
            ranks = np.linspace(0, len(archs) - 1, _MAX_EVALUATIONS).round().astype(int)
            archs, accuracies = _select(archs, accuracies, np.argsort(accuracies)[ranks])
        kernel = ConstantKernel() * RBF(5.0) + WhiteKernel(0.1)  # length scale in standard deviations of the features
        process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
        self._model = make_pipeline(StandardScaler(), process)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a kernel parameter reached its bound
            self._model.fit(self.features(archs), accuracies)

    def __call__(self, features: Floats) -> tuple[Floats, Floats]:
        """Predict means and standard deviations (N,), in percentage points, from features (N, F)."""
        means, deviations = self._model.predict(features, return_std=True)
        return means, deviations

    def features(self, archs: Sequence[Arch]) -> Floats:
        """Return the features (N, F) of archs: every gene one-hot, and the logarithms of counted costs."""
        return np.array([self._features(arch) for arch in archs])

    def _features(self, arch: Arch) -> list[float]:
        features: list[float] = []
        indices = self._space.encode(arch)
        for name, count in self._genes.items():
            one_hot = [0.0] * count
            one_hot[indices[name]] = 1.0
            features += one_hot
        counted = quick_cost(arch)
        features += np.log([counted.macs, counted.params, counted.peak_sram]).tolist()
        return features


def propose(
    feasible: Feasible,
    archs: Sequence[Arch],
    accuracies: Sequence[float],
    *,
    taken: Collection[Arch] = (),
    pareto: bool,
    rng: np.random.Generator,
) -> Arch | None:
    """Return the feasible arch with the highest expected improvement, or None if there is no new one.

    Candidates are repaired mutants of the best archs, over a few generations (evolution on the predictor).

    Args:
        feasible: The archs to choose from.
        archs: Those evaluated so far.
        accuracies: Their accuracies in percent.
        taken: Further archs not to propose, e.g. those being evaluated.
        pareto: Look for a Pareto front of accuracy and MACs: draw a largest size at random (log-uniform), and improve
            on the best arch up to that many MACs.
        rng: Draws mutants and the size.
    """
    predictor = Predictor(feasible.space, archs, accuracies)
    macs = np.array([quick_cost(arch).macs for arch in archs])
    max_macs = _log_uniform(macs, rng) if pareto else macs.max()
    small_enough = np.flatnonzero(macs <= max_macs).tolist()
    ranked = sorted(small_enough, key=accuracies.__getitem__, reverse=True)
    best = accuracies[ranked[0]]
    parents = [archs[i] for i in ranked[:_PARENTS]]
    known = set(archs).union(taken)
    gains: dict[Arch, float] = {}  # expected improvement by candidate
    for _ in range(_GENERATIONS):
        candidates = []
        for arch in _mutants(feasible, parents, rng):
            is_small = not pareto or quick_cost(arch).macs <= max_macs
            if arch not in known and arch not in gains and is_small:
                candidates.append(arch)
        if candidates:
            means, deviations = predictor(predictor.features(candidates))
            gains.update(zip(candidates, _expected_improvement(means, deviations, best), strict=True))
        if gains:
            parents = sorted(gains, key=gains.__getitem__, reverse=True)[:_PARENTS]
    for arch in sorted(gains, key=gains.__getitem__, reverse=True):
        if arch in feasible:
            return arch
    return None


def _log_uniform(macs: NDArray[np.int64], rng: np.random.Generator) -> float:
    """Draw a number between the smallest and the largest, log-uniform."""
    low, high = np.log([macs.min(), macs.max()])
    number: float = np.exp(rng.uniform(low, high))
    return number


def _mutants(feasible: Feasible, parents: Sequence[Arch], rng: np.random.Generator) -> list[Arch]:
    """Return different mutants of randomly chosen parents that are feasible, as far as counts and predictions tell."""
    mutants: dict[Arch, None] = {}  # ordered, unlike a set
    for i in rng.integers(len(parents), size=_CANDIDATES).tolist():
        mutant = feasible.predicted.repair(_mutate(feasible.space, parents[i], rng), rng)
        if mutant is not None:
            mutants[mutant] = None
    return list(mutants)


def _mutate(space: SearchSpace, arch: Arch, rng: np.random.Generator) -> Arch:
    """Draw about two genes of the arch again."""
    genes, counts = space.encode(arch), space.genes()
    is_mutated = [rng.random() < _MUTATIONS / len(counts) for _ in counts]
    for (name, count), mutated in zip(counts.items(), is_mutated, strict=True):
        if mutated:
            genes[name] = int(rng.integers(count))
    return space.decode(genes)


def _expected_improvement(means: Floats, deviations: Floats, best: float) -> Floats:
    """Return the expected improvement over the best for normal distributions (Jones et al., 1998, section 4.1)."""
    z = (means - best) / deviations
    gains: Floats = deviations * (z * norm.cdf(z) + norm.pdf(z))
    return gains


def cross_validated_tau(space: SearchSpace, archs: Sequence[Arch], accuracies: Sequence[float]) -> float:
    """Return the 5-fold cross-validated Kendall's tau between evaluated and predicted accuracies."""
    predicted = np.zeros(len(archs))
    for fitted, held_out in KFold(_FOLDS, shuffle=True, random_state=0).split(np.zeros(len(archs))):
        fitted_archs, fitted_accuracies = _select(archs, accuracies, fitted)
        held_out_archs, _ = _select(archs, accuracies, held_out)
        predictor = Predictor(space, fitted_archs, fitted_accuracies)
        predicted[held_out], _ = predictor(predictor.features(held_out_archs))
    return float(kendalltau(predicted, accuracies).statistic)


def _select(
    archs: Sequence[Arch], accuracies: Sequence[float], indices: NDArray[np.int64]
) -> tuple[list[Arch], list[float]]:
    return [archs[i] for i in indices], [accuracies[i] for i in indices]
