"""An accuracy predictor: cheap to ask, and only asked which network to evaluate truly next.

A Gaussian process on the encoded arch: on few evaluations it ranked networks better than trees or small neural
networks did, and it knows how sure it is. What it predicts is never reported as an accuracy.
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
from ..arch.cost import cost
from ..arch.space import SearchSpace
from .feasible import Feasible

Floats = NDArray[np.float64]
_PARENTS = 10  # the best networks so far, whose mutants are candidates
_CANDIDATES = 100  # of a generation
_GENERATIONS = 3
_MOST = 500  # evaluations that a fit takes, which grows with their cube
_FOLDS = 5


class Predictor:
    """Accuracy of a space's archs, learnt from evaluations."""

    def __init__(self, space: SearchSpace, archs: Sequence[Arch], accuracies: Sequence[float]) -> None:
        self._genes = space.genes()
        self._space = space
        if len(archs) > _MOST:  # from the best to the worst
            chosen = np.argsort(accuracies)[np.linspace(0, len(archs) - 1, _MOST).round().astype(int)]
            archs, accuracies = [archs[i] for i in chosen], [accuracies[i] for i in chosen]
        kernel = ConstantKernel() * RBF(5.0) + WhiteKernel(0.1)  # the length in standard deviations of the features
        process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
        self._model = make_pipeline(StandardScaler(), process)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a bound of a kernel's parameter was reached
            self._model.fit(self.features(archs), accuracies)

    def __call__(self, features: Floats) -> tuple[Floats, Floats]:
        """Means and standard deviations (N,) in percentage points, of features (N, F)."""
        means, deviations = self._model.predict(features, return_std=True)
        return means, deviations

    def features(self, archs: Sequence[Arch]) -> Floats:
        """(N, F): every gene one-hot, and the logarithms of counted costs."""
        return np.array([self._features(arch) for arch in archs])

    def _features(self, arch: Arch) -> list[float]:
        chosen, counted = self._space.encode(arch), cost(arch)
        one_hot = [float(chosen[name] == i) for name, count in self._genes.items() for i in range(count)]
        return [*one_hot, *np.log([counted.macs, counted.params, counted.peak_sram])]


def propose(
    feasible: Feasible,
    archs: Sequence[Arch],
    accuracies: Sequence[float],
    *,
    taken: Collection[Arch] = (),
    pareto: bool,
    rng: np.random.Generator,
) -> Arch | None:
    """The feasible network, neither among the archs nor taken, with the highest expected improvement on them.

    Candidates are mutants of the best archs, over a few generations; None if there are no new ones. Of a front,
    improvement counts at a size drawn at random: on the best network up to that many MACs.
    """
    predictor = Predictor(feasible.space, archs, accuracies)
    macs = np.array([cost(arch).macs for arch in archs])
    most = np.exp(rng.uniform(*np.log([macs.min(), macs.max()]))) if pareto else macs.max()
    inside = np.flatnonzero(macs <= most).tolist()
    ranked = sorted(inside, key=lambda i: -accuracies[i])
    known, best = {*archs, *taken}, accuracies[ranked[0]]
    parents: list[Arch] = [archs[i] for i in ranked[:_PARENTS]]
    pool: dict[Arch, float] = {}
    for _ in range(_GENERATIONS):
        chosen = [parents[i] for i in rng.integers(len(parents), size=_CANDIDATES)]
        mutants = dict.fromkeys(feasible.repair(_mutate(feasible.space, arch, rng), rng) for arch in chosen)
        new = [arch for arch in mutants if arch and arch not in known and arch not in pool]
        if new := [arch for arch in new if not pareto or cost(arch).macs <= most]:
            gains = _expected_improvement(*predictor(predictor.features(new)), best)
            pool |= dict(zip(new, gains, strict=True))
        parents = sorted(pool, key=lambda arch: -pool[arch])[:_PARENTS] or parents
    return parents[0] if pool else None


def held_out_correlation(space: SearchSpace, archs: Sequence[Arch], accuracies: Sequence[float]) -> float:
    """Kendall's tau between true accuracies and those predicted by fits that have not seen them, of 5 folds."""
    predicted = np.zeros(len(archs))
    for seen, held in KFold(_FOLDS, shuffle=True, random_state=0).split(np.zeros(len(archs))):
        predictor = Predictor(space, [archs[i] for i in seen], [accuracies[i] for i in seen])
        predicted[held] = predictor(predictor.features([archs[i] for i in held]))[0]
    return float(kendalltau(predicted, accuracies).statistic)


def _mutate(space: SearchSpace, arch: Arch, rng: np.random.Generator) -> Arch:
    """The arch with about two genes drawn anew."""
    genes, counts = space.encode(arch), space.genes()
    drawn = {name for name in counts if rng.random() < 2 / len(counts)}
    return space.decode({name: int(rng.integers(counts[name])) if name in drawn else genes[name] for name in counts})


def _expected_improvement(means: Floats, deviations: Floats, best: float) -> Floats:
    """Of accuracy over the best, under normal distributions (Jones et al., 1998, section 4.1)."""
    above = (means - best) / deviations
    gains: Floats = deviations * (above * norm.cdf(above) + norm.pdf(above))
    return gains
