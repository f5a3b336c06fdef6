"""Kendall's tau between two rankings of networks, and its interval."""

import numpy as np

BOOTSTRAP_SAMPLES = 2000


def kendall_tau(first: np.ndarray, second: np.ndarray, pairs: np.ndarray) -> float:
    """Return Kendall's tau over some pairs (N, N): concordant less discordant, over all."""
    signs = np.sign(first[:, None] - first) * np.sign(second[:, None] - second)
    return float(signs[pairs].sum() / max(1, pairs.sum()))


def bootstrap_interval(first: np.ndarray, second: np.ndarray, pairs: np.ndarray) -> tuple[float, float]:
    """Return the 95% interval of tau, of bootstrap samples of the networks."""
    rng = np.random.default_rng(0)
    taus = []
    for _ in range(BOOTSTRAP_SAMPLES):
        sample = rng.integers(len(first), size=len(first))
        different = sample[:, None] != sample
        taus.append(kendall_tau(first[sample], second[sample], pairs[np.ix_(sample, sample)] & different))
    low, high = np.quantile(taus, [0.025, 0.975])
    return float(low), float(high)
