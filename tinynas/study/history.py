"""What a search knows when it proposes the next network."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import isfinite

from ..arch.arch import Arch
from ..arch.cost import Cost
from ..utils.errors import InputError
from ..utils.pareto import Point, point_of


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """An evaluated subnet: its arch, its accuracy (or AP50) on search-val in percent, and its cost."""

    arch: Arch
    accuracy: float
    cost: Cost

    def point(self, objectives: Sequence[str]) -> Point:
        """Return the costs of these names, and the accuracy."""
        return point_of(self.cost.named(), objectives, self.accuracy)


def is_accuracy(value: object) -> bool:
    """Return whether a value can be an accuracy: a finite number."""
    try:
        return isfinite(value)  # type: ignore[arg-type]
    except TypeError:
        return False


class NoNumberError(InputError):
    """A function of the user's returned no number: that ends a search, as it is no fault of a network."""


class DroppedError(Exception):
    """A training or a network is not worth going on with, as others are better."""


class CannotWinError(DroppedError):
    """A network was dropped after a part of search-val or of its training, as others are clearly better.

    Args:
        estimate: Its estimated accuracy in percent, no higher than that of the best network.
    """

    def __init__(self, estimate: float) -> None:
        super().__init__(estimate)
        self.estimate = estimate


@dataclass(frozen=True, kw_only=True)
class History:
    """The networks of a study.

    Attributes:
        evaluations: Those evaluated, and those dropped with their estimated accuracies, in the order in which this
            process learned of them. It only ever grows at its end, so a sampler can keep what it derived from the first
            ones.
        pending: Those that workers evaluate now, in the order in which they were begun.
        taken: All that are not to be proposed: evaluated, dropped, pending, or failed for good.
    """

    evaluations: Sequence[Evaluation]
    pending: Collection[Arch]
    taken: Collection[Arch]
