"""Sweep the thresholds of early exits: accuracy over average MACs.

An image exits at the first exit whose score reaches the exit's threshold; the score is a decision rule's, by default
the confidence. The last exit takes all remaining images.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from operator import attrgetter

import numpy as np

from ..utils.errors import InputError
from ..utils.pareto import hypervolume, pareto_front
from ..utils.units import format_count, format_seconds, threshold_text
from .calibration import ExitOutputs
from .rules import Confidence, ExitRule, early_scores

Thresholds = Sequence[float]  # one for each early exit, or a single one for all of them
NEVER_EXIT = 1.1  # a threshold above every score: all images run to the last exit
_MAX_CANDIDATES = 400  # thresholds that a sweep tries
_PARETO_STEPS = 6  # intervals between the choices of spaced_thresholds
_PARETO_DEPTH = 10.0  # percentage points below the best accuracy, down to which it chooses

_macs_and_accuracy = attrgetter("macs", "accuracy")


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """What a network with early exits does on a split at some thresholds.

    Attributes:
        thresholds: Score from which an image exits: one for each early exit, or a single one for all of them.
        accuracy: Accuracy in percent.
        macs: Average MACs of an image.
        shares: Fraction of the images that take each exit; they add up to 1.
    """

    thresholds: tuple[float, ...]
    accuracy: float
    macs: float
    shares: tuple[float, ...]


def for_each_exit(threshold: float | Thresholds, early: int) -> list[float]:
    """Return a threshold for each of the early exits. Raises InputError if there are neither one nor as many."""
    try:
        values = np.atleast_1d(np.asarray(threshold, float))
    except (TypeError, ValueError):  # no numbers
        values = np.empty(0)
    if values.shape not in ((1,), (early,)) or not np.isfinite(values).all():
        raise InputError(
            f"there must be one finite threshold, or one for each of the {early} early exits, but got {threshold!r}"
        )
    thresholds: list[float] = np.broadcast_to(values, early).tolist()
    return thresholds


def candidate_thresholds(scores: np.ndarray) -> list[tuple[float]]:
    """Return thresholds for all exits in rising order: 0, quantiles of the scores (early exits, N), and NEVER_EXIT."""
    levels = np.quantile(scores, np.linspace(0, 1, _MAX_CANDIDATES), method="nearest")
    candidates = [(0.0,)]
    for level in np.unique(levels[levels > 0]).tolist():
        candidates.append((level,))
    candidates.append((NEVER_EXIT,))
    return candidates


@dataclass(frozen=True, kw_only=True)
class ThresholdSweep:
    """Scores and correctness of the exits on a split, evaluated at any thresholds.

    Attributes:
        scores: Scores of the early exits, (exits - 1, N).
        correct: Whether each exit predicts each image's label, (exits, N).
        macs: MACs of an image that takes each exit, rising.
    """

    scores: np.ndarray
    correct: np.ndarray
    macs: Sequence[int]

    def at(self, thresholds: Iterable[Thresholds]) -> list[OperatingPoint]:
        """Return the operating point of each choice of thresholds."""
        return [self._point(entry) for entry in thresholds]

    def curve(self) -> list[OperatingPoint]:
        """Return the operating points of all candidate thresholds, in rising order, the same for all exits."""
        return self.at(candidate_thresholds(self.scores))

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
        early = list(subset)
        macs, saved = [], 0
        for number, count in enumerate(self.macs):
            if number in subset or number == len(head_macs):
                macs.append(count - saved)
            else:
                saved += head_macs[number]
        correct = self.correct[[*early, len(head_macs)]]
        return ThresholdSweep(scores=self.scores[early], correct=correct, macs=macs)

    def exits(self, thresholds: Thresholds) -> np.ndarray:
        """Return the exit that each image takes, (N,)."""
        leaves = self.scores >= np.asarray(thresholds, self.scores.dtype)[:, None]
        return np.where(leaves.any(0), leaves.argmax(0), len(leaves))

    def _point(self, thresholds: Thresholds) -> OperatingPoint:
        exits = self.exits(thresholds)
        shares = np.bincount(exits, minlength=len(self.macs)) / len(exits)
        return OperatingPoint(
            thresholds=tuple(thresholds),
            accuracy=100 * float(self.correct[exits, np.arange(len(exits))].mean()),
            macs=float(shares @ np.asarray(self.macs)),
            shares=tuple(shares.tolist()),
        )


def spaced_thresholds(points: Sequence[OperatingPoint]) -> list[tuple[float, ...]]:
    """Return at most 7 choices of thresholds from the Pareto front of some points, evenly spaced along it.

    Only points within 10 percentage points of the best accuracy count. The first is the cheapest of them, the last the
    most accurate.
    """
    front = pareto_front(points, _macs_and_accuracy)
    lowest = front[-1].accuracy - _PARETO_DEPTH
    front = [point for point in front if point.accuracy > lowest]
    chosen = {round(step * (len(front) - 1) / _PARETO_STEPS) for step in range(_PARETO_STEPS + 1)}
    return [front[i].thresholds for i in sorted(chosen)]


def sweep(
    outputs: ExitOutputs, temperatures: Sequence[float], macs: Sequence[int], rule: ExitRule | None = None
) -> ThresholdSweep:
    """Return the threshold sweep of a network with early exits on a split.

    Args:
        outputs: The outputs of all exits on the split.
        temperatures: Temperature of each exit.
        macs: MACs of an image that takes each exit.
        rule: The decision rule; by default the confidence.
    """
    scores = early_scores(rule or Confidence(), outputs.probabilities(temperatures))
    return ThresholdSweep(scores=scores, correct=outputs.correct(), macs=macs)


def choose_accurate(points: Sequence[OperatingPoint], accuracy: float) -> OperatingPoint:
    """Return the cheapest operating point with an accuracy on search-val of at least `accuracy` percent.

    Raises:
        InputError: No point has it; the message names the nearest one.
    """
    accurate = [point for point in points if point.accuracy >= accuracy]
    if not accurate:
        best = max(points, key=attrgetter("accuracy"))
        raise InputError(
            f"no threshold reaches {accuracy:.2f}% on search-val; "
            f"the nearest, {threshold_text(best.thresholds)}, reaches {best.accuracy:.2f}%"
        )
    return min(accurate, key=_cheapest_first)


def choose_affordable(points: Sequence[OperatingPoint], macs: float) -> OperatingPoint:
    """Return the most accurate operating point within these average MACs.

    Raises:
        InputError: No point is; the message names the cheapest one.
    """
    affordable = [point for point in points if point.macs <= macs]
    if not affordable:
        cheapest = min(points, key=attrgetter("macs"))
        raise InputError(
            f"no threshold needs as little as {format_count(macs)} MACs on average; "
            f"the nearest, {threshold_text(cheapest.thresholds)}, needs {format_count(cheapest.macs)}"
        )
    return min(affordable, key=_most_accurate_first)


def choose_fast(points: Sequence[OperatingPoint], seconds: float, exit_seconds: Sequence[float]) -> OperatingPoint:
    """Return the most accurate operating point within these average seconds.

    Args:
        points: The points to choose from.
        seconds: Seconds that an image may take on average.
        exit_seconds: Seconds of an image that takes each exit.

    Raises:
        InputError: No point is as fast; the message names the fastest one.
    """
    averages = [float(np.dot(point.shares, exit_seconds)) for point in points]
    fast = [point for point, average in zip(points, averages, strict=True) if average <= seconds]
    if not fast:
        fastest = int(np.argmin(averages))
        raise InputError(
            f"no threshold is as fast as {format_seconds(seconds)} on average; "
            f"the nearest, {threshold_text(points[fastest].thresholds)}, takes {format_seconds(averages[fastest])}"
        )
    return min(fast, key=_most_accurate_first)


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
