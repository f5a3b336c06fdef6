"""Sweep the confidence threshold: accuracy over average MACs of a network with early exits.

An image exits at the first exit whose confidence, the largest softmax probability at that exit's temperature, reaches
the threshold. The last exit takes all remaining images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from operator import attrgetter

import numpy as np

from ..utils.errors import InputError
from ..utils.pareto import hypervolume, pareto_front
from ..utils.units import format_count
from .calibration import ExitOutputs

NEVER_EXIT = 1.1  # a threshold above every confidence: all images run to the last exit
_MAX_CANDIDATES = 400  # thresholds that a sweep tries
_PARETO_STEPS = 6  # intervals between the thresholds that pareto_thresholds chooses
_PARETO_DEPTH = 10.0  # percentage points below the best accuracy, down to which it chooses

_macs_and_accuracy = attrgetter("macs", "accuracy")


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """What a network with early exits does on a split at one threshold.

    Attributes:
        threshold: Confidence from which an image exits.
        accuracy: Accuracy in percent.
        macs: Average MACs of an image.
        shares: Fraction of the images that take each exit; they add up to 1.
    """

    threshold: float
    accuracy: float
    macs: float
    shares: tuple[float, ...]


def candidate_thresholds(confidences: np.ndarray) -> list[float]:
    """Return thresholds in rising order: 0, quantiles of the early exits' confidences (exits, N), and NEVER_EXIT."""
    levels = np.quantile(confidences[:-1], np.linspace(0, 1, _MAX_CANDIDATES), method="nearest")
    candidates = [0.0]
    candidates.extend(np.unique(levels[levels > 0]).tolist())
    candidates.append(NEVER_EXIT)
    return candidates


@dataclass(frozen=True, kw_only=True)
class ThresholdSweep:
    """Confidence and correctness of every exit on a split, evaluated at any threshold.

    Attributes:
        confidences: Calibrated confidences, (exits, N).
        uncalibrated: The confidences at temperature 1, (exits, N).
        correct: Whether each exit predicts each image's label, (exits, N).
        macs: MACs of an image that takes each exit, rising.
    """

    confidences: np.ndarray
    uncalibrated: np.ndarray
    correct: np.ndarray
    macs: Sequence[int]

    def at(self, thresholds: Sequence[float]) -> list[OperatingPoint]:
        """Return the operating point of each threshold."""
        return [self._point(threshold) for threshold in thresholds]

    def curve(self) -> list[OperatingPoint]:
        """Return the operating points of all candidate thresholds, in rising order of the threshold."""
        return self.at(candidate_thresholds(self.confidences))

    def pareto_thresholds(self) -> list[float]:
        """Return at most 7 thresholds from the curve's Pareto front, evenly spaced along it.

        Only points within 10 percentage points of the best accuracy count. The first is the cheapest of them, the last
        the most accurate.
        """
        points = pareto_front(self.curve(), _macs_and_accuracy)
        lowest = points[-1].accuracy - _PARETO_DEPTH
        points = [point for point in points if point.accuracy > lowest]
        chosen = {round(step * (len(points) - 1) / _PARETO_STEPS) for step in range(_PARETO_STEPS + 1)}
        return [points[i].threshold for i in sorted(chosen)]

    def subset_hypervolumes(self, head_macs: Sequence[int]) -> dict[tuple[int, ...], float]:
        """Return the hypervolume of the curve for every non-empty subset of the early exits.

        Args:
            head_macs: MACs of each early exit's side head, which are saved where the subset lacks the exit.

        Returns:
            By the indices of the exits in the subset: the hypervolume, measured from twice the whole network's MACs and
            the accuracy of the worst exit.
        """
        reference = 2 * self.macs[-1], 100 * float(self.correct.mean(1).min())
        hypervolumes = {}
        for size in range(1, len(head_macs) + 1):
            for subset in combinations(range(len(head_macs)), size):
                points = self._restricted_to(subset, head_macs).curve()
                hypervolumes[subset] = hypervolume(list(map(_macs_and_accuracy, points)), reference)
        return hypervolumes

    def _restricted_to(self, subset: tuple[int, ...], head_macs: Sequence[int]) -> "ThresholdSweep":
        """Return the sweep of the same network with only these early exits."""
        rows, macs, saved = [], [], 0
        for number, count in enumerate(self.macs):
            if number in subset or number == len(head_macs):
                rows.append(number)
                macs.append(count - saved)
            else:
                saved += head_macs[number]
        return ThresholdSweep(
            confidences=self.confidences[rows],
            uncalibrated=self.uncalibrated[rows],
            correct=self.correct[rows],
            macs=macs,
        )

    def _point(self, threshold: float) -> OperatingPoint:
        exits_early = self.confidences >= threshold
        exits_early[-1] = True
        exits = exits_early.argmax(0)
        shares = np.bincount(exits, minlength=len(self.macs)) / len(exits)
        return OperatingPoint(
            threshold=threshold,
            accuracy=100 * float(self.correct[exits, np.arange(len(exits))].mean()),
            macs=float(shares @ np.asarray(self.macs)),
            shares=tuple(shares.tolist()),
        )


def sweep(outputs: ExitOutputs, temperatures: Sequence[float], macs: Sequence[int]) -> ThresholdSweep:
    """Return the threshold sweep for the exits' outputs, their temperatures, and the MACs until each exit."""
    return ThresholdSweep(
        confidences=outputs.confidences(temperatures),
        uncalibrated=outputs.confidences([1.0] * len(temperatures)),
        correct=outputs.correct(),
        macs=macs,
    )


def choose(
    points: Sequence[OperatingPoint], *, accuracy: float | None = None, macs: float | None = None
) -> OperatingPoint:
    """Choose an operating point, its accuracy measured on search-val.

    Args:
        points: The points to choose from.
        accuracy: Choose the cheapest point of at least this accuracy, in percent; None accepts every accuracy.
        macs: Choose the most accurate point within these average MACs instead.

    Raises:
        InputError: No point satisfies the condition; the message names the nearest one.
    """
    if macs is not None:
        return _most_accurate_within(points, macs)
    accurate = [point for point in points if accuracy is None or point.accuracy >= accuracy]
    if not accurate:
        best = max(points, key=attrgetter("accuracy"))
        raise InputError(
            f"no threshold reaches {accuracy:.2f}% on search-val; "
            f"the nearest, {best.threshold:.4g}, reaches {best.accuracy:.2f}%"
        )
    return min(accurate, key=_cheapest_first)


def _most_accurate_within(points: Sequence[OperatingPoint], macs: float) -> OperatingPoint:
    affordable = [point for point in points if point.macs <= macs]
    if not affordable:
        cheapest = min(points, key=attrgetter("macs"))
        raise InputError(
            f"no threshold needs as little as {format_count(macs)} MACs on average; "
            f"the nearest, {cheapest.threshold:.4g}, needs {format_count(cheapest.macs)}"
        )
    return min(affordable, key=_most_accurate_first)


def _cheapest_first(point: OperatingPoint) -> tuple[float, float]:
    return point.macs, -point.accuracy


def _most_accurate_first(point: OperatingPoint) -> tuple[float, float]:
    return -point.accuracy, point.macs


def random_exits(correct: np.ndarray, macs: Sequence[float], count: int = 41) -> list[tuple[float, float]]:
    """Return the expected (MACs, accuracy) of images that exit at random, the baseline for confidence.

    At each point the same fraction of images continues at every early exit; `count` fractions from 0 to 1 are tried.
    `correct` is (exits, N).
    """
    accuracies, points = 100 * correct.mean(1), []
    last = len(macs) - 1
    for continues in np.linspace(0, 1, count):
        shares = [(1 - continues) * continues**number for number in range(last)]
        shares.append(continues**last)
        points.append((float(np.dot(shares, macs)), float(np.dot(shares, accuracies))))
    return points


def oracle_exits(correct: np.ndarray, macs: Sequence[float]) -> list[tuple[float, float]]:
    """Return the (MACs, accuracy) of images that exit by an oracle which knows the labels, as an upper bound.

    In the n-th point an image takes the first correct exit among the first n, or the first exit if none is correct. A
    last point has the accuracy of all exits at the whole network's MACs. `correct` is (exits, N).
    """
    costs, points = np.asarray(macs), []
    for last in range(1, len(macs) + 1):
        any_correct = correct[:last].any(0)
        exits = np.where(any_correct, correct[:last].argmax(0), 0)
        points.append((float(costs[exits].mean()), 100 * float(any_correct.mean())))
    points.append((float(costs[-1]), points[-1][1]))
    return points
