"""Search thresholds for each early exit: the best trade-offs of accuracy and average cost on a split.

For a price of cost, coordinate search goes over the exits from the last to the first and gives each the best threshold
while the others keep theirs, until none changes. A step is exact: of the images that reach the exit, sorted by their
scores, it lets the first m exit that are worth most together. Between the thresholds of neighbouring prices are others,
by linear interpolation, since the best thresholds for prices are those of the convex hull alone.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from .thresholds import NEVER_EXIT, OperatingPoint, ThresholdSweep

_PRICES = np.geomspace(1e-4, 3, 45)  # of the whole network's cost, in units of one image's correctness
_FRACTIONS = np.linspace(0, 1, 10, endpoint=False)  # of the way from one price's thresholds to the next one's
_MAX_ROUNDS = 20  # of coordinate search


def per_exit_points(sweep: ThresholdSweep, costs: Sequence[float] | None = None) -> list[OperatingPoint]:
    """Return operating points with a threshold for each early exit, and those of the curve, whose exits share one.

    Args:
        sweep: Scores and correctness on the split.
        costs: What an image costs that takes each exit; by default its MACs.
    """
    best = []
    for price in _PRICES:
        best.append(best_at_price(sweep, price, sweep.macs if costs is None else costs).thresholds)
    choices = [best[-1]]
    for cheaper, dearer in pairwise(np.asarray(best)):
        for fraction in _FRACTIONS:
            choices.append(tuple((cheaper + fraction * (dearer - cheaper)).tolist()))
    return sweep.curve() + sweep.at(choices)


def best_at_price(sweep: ThresholdSweep, price: float, costs: Sequence[float]) -> OperatingPoint:
    """Return the operating point with the best accuracy minus cost, the whole network's cost being worth `price`."""
    relative = np.asarray(costs, float) / costs[-1]
    values = sweep.correct - price * relative[:, None]  # (exits, N)
    thresholds = np.full(len(sweep.scores), NEVER_EXIT, sweep.scores.dtype)
    for _ in range(_MAX_ROUNDS):
        before = thresholds.copy()
        for number in reversed(range(len(thresholds))):
            thresholds[number] = _best_threshold(sweep.scores, values, thresholds, number)
        if np.array_equal(thresholds, before):
            break
    (point,) = sweep.at([thresholds.tolist()])
    return point


def _best_threshold(scores: np.ndarray, values: np.ndarray, thresholds: np.ndarray, number: int) -> float:
    """Return the threshold of one exit that is worth most while the other exits keep theirs."""
    leaves = scores >= thresholds[:, None]
    reached = ~leaves[:number].any(0)
    later = np.vstack([leaves[number + 1 :], np.ones(scores.shape[1], bool)])
    later_exits = number + 1 + later.argmax(0)
    gains = values[number] - np.take_along_axis(values, later_exits[None], 0)[0]
    order = np.argsort(-scores[number][reached], kind="stable")
    sorted_scores = scores[number][reached][order]
    totals = np.cumsum(gains[reached][order])
    ends = np.append(sorted_scores[1:] < sorted_scores[:-1], True)[: len(totals)]  # equal scores exit together
    totals[~ends] = -np.inf
    if not len(totals) or totals.max() <= 0:
        return NEVER_EXIT
    return float(sorted_scores[totals.argmax()])
