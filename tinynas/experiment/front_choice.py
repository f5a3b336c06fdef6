"""Which networks of a search are retrained, if several are: those of its front, spread over a cost."""

from collections.abc import Mapping, Sequence
from math import log

from .evaluated import EvaluatedNetworks
from .results import FrontEntry


def networks_to_retrain(evaluated: Sequence[FrontEntry], count: int, *, costs: Sequence[str]) -> list[FrontEntry]:
    """Return so many evaluated networks, or all if there are fewer: of their front, then of the next if it has too few.

    The next front is that of the networks which are not on the ones before, as NSGA-II ranks them (Deb et al., 2002,
    section III-A).

    Args:
        evaluated: The networks.
        count: How many.
        costs: Names of the front's costs.

    Returns:
        The networks in ascending order of the first cost.
    """
    left = list(evaluated)
    chosen: list[FrontEntry] = []
    while left and len(chosen) < count:
        front = EvaluatedNetworks(networks=tuple(left)).front_of(costs)
        chosen += spread_over_front(front, count - len(chosen), cost=costs[0])
        left = [entry for entry in left if entry not in front]
    return sorted(chosen, key=lambda entry: entry.cost.named()[costs[0]])


def spread_over_front(entries: Sequence[FrontEntry], count: int, *, cost: str) -> list[FrontEntry]:
    """Return so many networks of a front, or all if it has fewer, evenly spread over a cost on a log scale.

    Args:
        entries: The front, in ascending order of the cost.
        count: How many networks; of one only, the most accurate.
        cost: Name of the cost.

    Returns:
        The networks in ascending order of the cost, the smallest and the largest among them.
    """
    if count == 1:
        return [max(entries, key=_accuracy)]
    positions = [log(entry.cost.named()[cost]) for entry in entries]
    step = (positions[-1] - positions[0]) / (count - 1)
    left = dict(enumerate(positions))
    chosen = []
    for number in range(min(count, len(entries))):
        nearest = _nearest(left, positions[0] + number * step)
        del left[nearest]
        chosen.append(nearest)
    return [entries[index] for index in sorted(chosen)]


def _nearest(positions: Mapping[int, float], wanted: float) -> int:
    """Return the index of the position nearest to one."""
    distances = {index: abs(position - wanted) for index, position in positions.items()}
    return min(distances, key=distances.__getitem__)


def _accuracy(entry: FrontEntry) -> float:
    return entry.accuracy
