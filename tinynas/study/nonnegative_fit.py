"""Costs as sums of counts: non-negative coefficients, fitted by least squares of the relative errors."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def fit_coefficients(features: Floats, values: Floats) -> Floats:
    """Return the coefficients (F,) of features (N, F), at least 0, whose sums are closest to values (N,) above 0."""
    from scipy.optimize import nnls

    scale = features.max(0)
    scale[scale == 0] = 1  # of features that are always 0
    solution, _ = nnls(features / scale / values[:, None], np.ones(len(values)), maxiter=10_000)
    coefficients: Floats = solution / scale
    return coefficients


def leave_one_out_errors(features: Floats, values: Floats) -> Floats:
    """Return predicted / actual - 1 of each value, predicted by coefficients fitted to the other values."""
    errors = np.zeros(len(values))
    for number in range(len(values)):
        others = np.arange(len(values)) != number
        predicted = features[number] @ fit_coefficients(features[others], values[others])
        errors[number] = predicted / values[number] - 1
    return errors
