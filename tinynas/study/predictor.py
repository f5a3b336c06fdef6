"""An accuracy predictor: cheap to query, and only used to choose which network to evaluate next.

A Gaussian process on the encoded arch: with few evaluations it ranked networks better than trees or small neural
networks did, and it predicts its own uncertainty. Predicted accuracies are never reported.

Evaluations are deterministic, so the process has no noise, and its deviation is 0 at evaluated networks. What is smooth
in the features is a kernel of a fitted length scale; what differs from network to network is one of a short length
scale. They rank networks as well as a kernel with noise does, and better than the smooth one alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import kendalltau
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Kernel
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from ..arch.arch import Arch
from ..arch.cost import quick_cost
from ..arch.space import SearchSpace

Floats = NDArray[np.float64]
Features = NDArray[np.float32]

_JITTER = 1e-6  # added to the kernel matrix's diagonal, so that it can be factorised
_SMOOTH = ConstantKernel(1.0, (1e-2, 1e2)) * RBF(20.0, (1.0, 300.0))  # lengths in standard deviations of the features
_ROUGH = ConstantKernel(0.1, (1e-3, 1e1)) * RBF(2.0, "fixed")
_MAX_CROSS_VALIDATED = 250  # evaluations that a fold's predictor is fitted to: the time grows with their cube
_FOLDS = 5


class ArchFeatures:
    """Returns the features (N, F) of N archs of a space: every gene one-hot, and the logarithms of counted costs."""

    def __init__(self, space: SearchSpace) -> None:
        counts = list(space.genes().values())
        self._space = space
        self._num_options = sum(counts)
        self._first_options = np.cumsum([0, *counts])[:-1]  # column of a gene's first option

    def __call__(self, archs: Sequence[Arch]) -> Features:
        features = np.zeros((len(archs), self._num_options + 3), np.float32)
        for row, arch in zip(features, archs, strict=True):
            indices = np.array(list(self._space.encode(arch).values()), int)
            row[self._first_options + indices] = 1
            counted = quick_cost(arch)
            row[self._num_options :] = np.log([counted.macs, counted.params, counted.peak_sram])
        return features


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """What a predictor keeps while evaluations are added: the scales of features and accuracies, and the kernel.

    Attributes:
        scaler: Of the features.
        center: Mean accuracy.
        scale: Standard deviation of the accuracies; 1 if they are all equal.
        kernel: Of the scaled features.
    """

    scaler: StandardScaler
    center: float
    scale: float
    kernel: Kernel

    @classmethod
    def fit(cls, features: Features, accuracies: Floats) -> "Hyperparameters":
        """Maximise the marginal likelihood of evaluations, from their features (N, F) and accuracies (N,)."""
        scaler = StandardScaler().fit(features)
        center, scale = float(accuracies.mean()), float(accuracies.std()) or 1.0
        process = GaussianProcessRegressor(_SMOOTH + _ROUGH, alpha=_JITTER, optimizer=None)
        process.fit(scaler.transform(features), (accuracies - center) / scale)

        def loss(theta: Floats) -> tuple[float, Floats]:
            likelihood, gradient = process.log_marginal_likelihood(theta, eval_gradient=True, clone_kernel=False)
            return -likelihood, -gradient

        kernel = process.kernel_  # minimised here, as scikit-learn prints a warning where a parameter reaches its bound
        result = minimize(loss, kernel.theta, jac=True, method="L-BFGS-B", bounds=kernel.bounds)
        return cls(scaler=scaler, center=center, scale=scale, kernel=kernel.clone_with_theta(result.x))


class Predictor:
    """Predicts the accuracy of a space's archs from evaluations.

    Args:
        hyperparameters: Of the Gaussian process.
        features: Features (N, F) of the evaluated archs.
        accuracies: Their accuracies (N,) in percent.
    """

    def __init__(self, hyperparameters: Hyperparameters, features: Features, accuracies: Floats) -> None:
        self._hyperparameters, self._features, self._accuracies = hyperparameters, features, accuracies
        self._process = GaussianProcessRegressor(hyperparameters.kernel, alpha=_JITTER, optimizer=None)
        targets = (accuracies - hyperparameters.center) / hyperparameters.scale
        self._process.fit(hyperparameters.scaler.transform(features), targets)

    def __call__(self, features: Features) -> tuple[Floats, Floats]:
        """Predict means and standard deviations (N,), in percentage points, from features (N, F)."""
        scaled = self._hyperparameters.scaler.transform(features)
        means, deviations = self._process.predict(scaled, return_std=True)
        return (
            self._hyperparameters.center + self._hyperparameters.scale * means,
            self._hyperparameters.scale * deviations,
        )

    def with_evaluations(self, features: Features, accuracies: Floats) -> "Predictor":
        """Return the predictor with further networks.

        Args:
            features: Features (N, F) of the networks.
            accuracies: Their accuracies (N,) in percent. Those of networks that are being evaluated may be predicted
                ones (kriging believer; Ginsbourger et al., 2010, section 4): the deviation near them decreases.
        """
        return Predictor(
            self._hyperparameters,
            np.concatenate([self._features, features]),
            np.concatenate([self._accuracies, accuracies]),
        )


def select_points(accuracies: Floats, bound: int, *, preferred: NDArray[np.bool_] | None = None) -> NDArray[np.intp]:
    """Choose which evaluations a Gaussian process uses, whose time grows with the cube of their number.

    Args:
        accuracies: Of all evaluations.
        bound: Largest number to choose.
        preferred: Which evaluations come first, whatever their accuracy.

    Returns:
        The indices of the best, half of the bound, and of others from the best to the worst, evenly spaced.
    """
    if preferred is None:
        preferred = np.ones(len(accuracies), bool)
    ranked = np.lexsort((-accuracies, ~preferred))
    if len(ranked) <= bound:
        return ranked
    best, others = ranked[: bound // 2], ranked[bound // 2 :]
    spaced = np.linspace(0, len(others) - 1, bound - len(best)).round().astype(int)
    return np.concatenate([best, others[spaced]])


class CrossValidation(NamedTuple):
    """Accuracies of networks as a predictor predicts them that was fitted to other networks, in 5 folds.

    Attributes:
        predicted: Predicted accuracies (N,).
        tau: Kendall's tau between them and the evaluated ones.
    """

    predicted: Floats
    tau: float


def cross_validation(space: SearchSpace, archs: Sequence[Arch], accuracies: Sequence[float]) -> CrossValidation:
    """Predict the accuracy of every network by predictors that were not fitted to it.

    Args:
        space: The search space.
        archs: Networks of the space, at least five.
        accuracies: Their accuracies.
    """
    features, evaluated = ArchFeatures(space)(archs), np.array(accuracies)
    predicted = np.zeros(len(archs))
    for fitted, held_out in KFold(_FOLDS, shuffle=True, random_state=0).split(features):
        points = fitted[select_points(evaluated[fitted], _MAX_CROSS_VALIDATED)]
        hyperparameters = Hyperparameters.fit(features[points], evaluated[points])
        predictor = Predictor(hyperparameters, features[points], evaluated[points])
        predicted[held_out], _ = predictor(features[held_out])
    return CrossValidation(predicted, float(kendalltau(predicted, evaluated).statistic))
