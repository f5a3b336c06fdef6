"""Early exits, from the outputs of every exit: calibrated confidence, and accuracy over average MACs at each threshold.

An image is answered by the first exit whose confidence, the largest softmax probability at the exit's temperature, is
at least the threshold; the last exit answers what is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, combinations

import numpy as np

from ..utils.errors import InputError
from ..utils.pareto import hypervolume, pareto_front
from ..utils.units import format_count
from .calibration import Outputs

NOBODY = 1.1  # a threshold that no confidence reaches
_THRESHOLDS = 400


_POINTS, _DEPTH = 6, 10.0  # into which the upper part of a curve is divided; its points of accuracy


@dataclass(frozen=True, kw_only=True)
class Operating:
    """What a threshold makes of a split: accuracy in percent, MACs of an image on average, the exits' shares."""

    threshold: float
    accuracy: float
    macs: float
    shares: tuple[float, ...]


def thresholds(confidences: np.ndarray) -> list[float]:
    """0, at which the first exit answers all; some of the early exits' confidences (exits, N), rising; NOBODY."""
    levels = np.quantile(confidences[:-1], np.linspace(0, 1, _THRESHOLDS), method="nearest")
    return [0.0, *np.unique(levels[levels > 0]).tolist(), NOBODY]


@dataclass(frozen=True, kw_only=True)
class Swept:
    """The images of a split at every exit, and what thresholds make of them."""

    confidences: np.ndarray  # (exits, N), calibrated
    uncalibrated: np.ndarray  # the same at temperature 1
    correct: np.ndarray  # (exits, N)
    macs: Sequence[int]  # of an image that takes each exit

    def at(self, thresholds: Sequence[float]) -> list[Operating]:
        """What each threshold makes of them."""
        return [self._at(threshold) for threshold in thresholds]

    def curve(self) -> list[Operating]:
        """At every threshold worth a look."""
        return self.at(thresholds(self.confidences))

    def spread(self) -> list[float]:
        """Some thresholds whose points lie on the curve's front, evenly among those within 10 points of its best."""
        best = pareto_front(self.curve(), lambda point: (point.macs, point.accuracy))
        best = [point for point in best if point.accuracy > best[-1].accuracy - _DEPTH]
        chosen = {round(i * (len(best) - 1) / _POINTS) for i in range(_POINTS + 1)}
        return [best[i].threshold for i in sorted(chosen)]

    def subsets(self, sides: Sequence[int]) -> dict[tuple[int, ...], float]:
        """What the curves of every choice of early exits cover; `sides` are the MACs of the heads.

        That is the hypervolume from twice the whole network's MACs and the accuracy of the worst exit.
        """
        reference = 2 * self.macs[-1], 100 * float(self.correct.mean(1).min())
        found = {}
        for exits in chain.from_iterable(combinations(range(len(sides)), n + 1) for n in range(len(sides))):
            absent = [0 if i in exits else macs for i, macs in enumerate(sides)]
            chosen = [*exits, len(sides)]
            part = Swept(
                confidences=self.confidences[chosen],
                uncalibrated=self.uncalibrated[chosen],
                correct=self.correct[chosen],
                macs=[self.macs[i] - sum(absent[: i + 1]) for i in chosen],
            )
            found[exits] = hypervolume([(point.macs, point.accuracy) for point in part.curve()], reference)
        return found

    def _at(self, threshold: float) -> Operating:
        goes = self.confidences >= threshold
        goes[-1] = True
        exits = goes.argmax(0)
        shares = np.bincount(exits, minlength=len(self.macs)) / len(exits)
        return Operating(
            threshold=threshold,
            accuracy=100 * float(self.correct[exits, np.arange(len(exits))].mean()),
            macs=float(shares @ np.asarray(self.macs)),
            shares=tuple(shares.tolist()),
        )


def swept(outputs: Outputs, temperatures: Sequence[float], macs: Sequence[int]) -> Swept:
    """A split's images at exits of these temperatures and costs."""
    return Swept(
        confidences=outputs.confidences(temperatures),
        uncalibrated=outputs.confidences([1.0] * len(temperatures)),
        correct=outputs.correct(),
        macs=macs,
    )


def choose(points: Sequence[Operating], *, accuracy: float | None = None, macs: float | None = None) -> Operating:
    """The cheapest of at least an accuracy, or the most accurate within average MACs. Raises InputError if none is."""
    if macs is not None:
        within = [point for point in points if point.macs <= macs]
        if not within:
            least = min(points, key=lambda point: point.macs)
            raise InputError(
                f"no threshold needs as little as {format_count(macs)} MACs on average; "
                f"the nearest, {least.threshold:.4g}, needs {format_count(least.macs)}"
            )
        return max(within, key=lambda point: (point.accuracy, -point.macs))
    reached = [point for point in points if accuracy is None or point.accuracy >= accuracy]
    if not reached:
        best = max(points, key=lambda point: point.accuracy)
        raise InputError(
            f"no threshold reaches {accuracy:.2f}% on search-val; "
            f"the nearest, {best.threshold:.4g}, reaches {best.accuracy:.2f}%"
        )
    return min(reached, key=lambda point: (point.macs, -point.accuracy))


def random_exits(correct: np.ndarray, macs: Sequence[float], count: int = 41) -> list[tuple[float, float]]:
    """What exits taken by chance make: expected (MACs, accuracy), where each exit lets the same share go on."""
    accuracies, points = 100 * correct.mean(1), []
    for on in np.linspace(0, 1, count):
        shares = [(1 - on) * on**k for k in range(len(macs) - 1)] + [on ** (len(macs) - 1)]
        points.append((float(np.dot(shares, macs)), float(np.dot(shares, accuracies))))
    return points


def oracle_exits(correct: np.ndarray, macs: Sequence[float]) -> list[tuple[float, float]]:
    """What exits taken by one who knows the labels make: the first that is right, if that is not too dear.

    (MACs, accuracy) where the first, the first two, ... exits may be taken, and the first answers the rest.
    """
    costs, points = np.asarray(macs), []
    for last in range(1, len(macs) + 1):
        right = correct[:last].any(0)
        exits = np.where(right, correct[:last].argmax(0), 0)
        points.append((float(costs[exits].mean()), 100 * float(right.mean())))
    return [*points, (float(costs[-1]), points[-1][1])]
