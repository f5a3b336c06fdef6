"""Histograms of a network's activations, and the ranges of int8 that criteria choose from them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import isfinite

import numpy as np
import torch
from torch import Tensor

from ..arch.operators import LoweredNetwork
from ..utils.errors import InputError
from .lowered_run import LayerWeights, run_lowered
from .quantization import Array, quantization

_BATCH = 8  # images whose activations are in memory at the same time
_BINS = 2048  # 8 per int8 step
_FACTORS = 0.9 ** np.arange(30)  # by which the criterion of squared errors shrinks each bound

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How many values of a tensor lie in each of the equal parts of its range.

    Attributes:
        low: Smallest value, at most 0.
        high: Largest value, at least 0.
        counts: Number of values in each part, (bins,).
    """

    low: float
    high: float
    counts: Array

    def edges(self) -> Array:
        """Return the bounds of the parts, (bins + 1,)."""
        return np.linspace(self.low, self.high, len(self.counts) + 1)


def collect_histograms(
    network: LoweredNetwork, weights: Mapping[str, LayerWeights], images: Tensor
) -> dict[str, Histogram]:
    """Return the histogram of every tensor of activations by name.

    The network runs twice on all images, first to get the ranges; only the activations of a few images are in memory.

    Args:
        network: The network.
        weights: Its weights, as `layer_weights` returns them.
        images: Calibration images (N, C, H, W).

    Raises:
        InputError: Values overflow.
    """
    ranges: dict[str, Range] = {}
    for values in _activations(network, weights, images):
        for name, tensor in values.items():
            low, high = ranges.get(name, (0.0, 0.0))
            ranges[name] = min(low, tensor.min().item()), max(high, tensor.max().item())
    for name, (low, high) in ranges.items():
        if not isfinite(high - low):
            raise InputError(f"values of {name} are {low:g} to {high:g} on calibration images; train the network again")
    counts = dict.fromkeys(ranges, np.zeros(_BINS))
    for values in _activations(network, weights, images):
        for name, tensor in values.items():
            counts[name] = counts[name] + _count(tensor, ranges[name])
    return {name: Histogram(low=low, high=high, counts=counts[name]) for name, (low, high) in ranges.items()}


def min_max(histogram: Histogram) -> Range:
    """Return the smallest and the largest value."""
    return histogram.low, histogram.high


def percentile(histogram: Histogram, percent: float) -> Range:
    """Return the narrowest range that clips at most (100 - percent) / 2 percent of the values on either side."""
    tail = (1 - percent / 100) / 2 * histogram.counts.sum()
    edges, below = histogram.edges(), np.concatenate([[0], np.cumsum(histogram.counts)])
    above = below[-1] - below
    low = edges[np.flatnonzero(below <= tail)[-1]]
    high = edges[np.flatnonzero(above <= tail)[0]]
    return min(float(low), 0.0), max(float(high), 0.0)


def least_squared_error(histogram: Histogram) -> Range:
    """Return the range with the least squared error of int8, from rounding and from clipping."""
    edges = histogram.edges()
    occupied = histogram.counts > 0
    values, counts = ((edges[:-1] + edges[1:]) / 2)[occupied], histogram.counts[occupied]
    best, least = min_max(histogram), np.inf
    for low in _shrunk(histogram.low):
        for high in _shrunk(histogram.high):
            error = np.dot(counts, _int8_errors(values, (low, high)) ** 2)
            if error < least:
                best, least = (low, high), error
    return best


CRITERIA: Mapping[str, Callable[[Histogram], Range]] = {
    "min-max": min_max,
    "percentile 99.99": partial(percentile, percent=99.99),
    "percentile 99.9": partial(percentile, percent=99.9),
    "squared error": least_squared_error,
}


def _activations(
    network: LoweredNetwork, weights: Mapping[str, LayerWeights], images: Tensor
) -> Iterator[dict[str, Tensor]]:
    """Yield the values of all tensors, a few images at a time."""
    with torch.no_grad():
        for batch in torch.split(images, _BATCH):
            yield run_lowered(network, weights, batch)


def _count(tensor: Tensor, bounds: Range) -> Array:
    """Return how many values lie in each bin between two bounds."""
    low, high = bounds
    if low == high:
        return np.bincount([0], [tensor.numel()], _BINS)
    counts: Array = torch.histc(tensor, _BINS, min=low, max=high).double().numpy()
    return counts


def _shrunk(bound: float) -> Array:
    """Return the candidates for a bound; 0 stays 0."""
    return bound * _FACTORS if bound else np.zeros(1)


def _int8_errors(values: Array, bounds: Range) -> Array:
    """Return the differences of values from what int8 makes of them."""
    parameters = quantization(bounds)
    steps = np.clip(np.round(values / parameters.scale) + parameters.zero_point, -128, 127)
    errors: Array = (steps - parameters.zero_point) * parameters.scale - values
    return errors
