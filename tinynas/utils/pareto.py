"""Pareto fronts and the hypervolume they dominate, of points with one cost or two, and an accuracy."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import log10
from typing import Any, TypeVar

T = TypeVar("T")
Point = tuple[float, ...]  # one cost or two, such as MACs, and the accuracy in percent
MAX_COSTS = 2


def point_of(known: Mapping[str, float], costs: Iterable[str], accuracy: float) -> Point:
    """Return the point of an item whose costs are known by name.

    Example:
        >>> point_of({"macs": 9, "flash": 5}, ["flash"], 70.0)
        (5, 70.0)
    """
    return (*(known[name] for name in costs), accuracy)


def _itself(point: Any) -> Point:
    coordinates: Point = point
    return coordinates


def pareto_front(items: Iterable[T], point: Callable[[T], Point] = _itself) -> list[T]:
    """Return the items that no other one beats: none has costs as low and an accuracy as high.

    Args:
        items: In any order; of items with equal points, the first is kept.
        point: Returns the one or two costs of an item, and its accuracy; by default the items are such points.

    Returns:
        The items in ascending order of the first cost. With one cost, the accuracy ascends as well.

    Example:
        >>> pareto_front([(20, 70.0), (10, 50.0), (30, 60.0)])
        [(10, 50.0), (20, 70.0)]
        >>> pareto_front([(20, 3, 70.0), (10, 5, 50.0), (30, 2, 60.0), (30, 4, 60.0)])
        [(10, 5, 50.0), (20, 3, 70.0), (30, 2, 60.0)]
    """
    items = list(items)
    ranked = []
    for number, item in enumerate(items):
        coordinates = point(item)
        second = coordinates[1] if len(coordinates) > MAX_COSTS else 0.0
        ranked.append((coordinates[0], second, -coordinates[-1], number))
    front: list[T] = []
    stairs = _Stairs()
    for _, second, negative_accuracy, number in sorted(ranked):  # what beats an item comes before it
        if stairs.add(second, -negative_accuracy):
            front.append(items[number])
    return front


class _Stairs:
    """Points of a cost and an accuracy that no other one of those added beats; both ascend."""

    def __init__(self) -> None:
        self._costs: list[float] = []
        self._accuracies: list[float] = []

    def add(self, cost: float, accuracy: float) -> bool:
        """Add a point, in place of those that it beats, unless one of them is as good; return whether it was added."""
        place = bisect_right(self._costs, cost)
        if place and self._accuracies[place - 1] >= accuracy:
            return False
        first = place
        while first and self._costs[first - 1] == cost:
            first -= 1
        last = place
        while last < len(self._accuracies) and self._accuracies[last] <= accuracy:
            last += 1
        self._costs[first:last] = [cost]
        self._accuracies[first:last] = [accuracy]
        return True


def hypervolume(points: Iterable[Point], reference: Point) -> float:
    """Return what the points dominate over log10 of the costs.

    Args:
        points: One cost or two, and the accuracy in percent; in any order.
        reference: Largest costs and lowest accuracy; points beyond it do not count.

    Returns:
        With one cost the area, in percentage points times decades; with two the volume, in percentage points times
        decades of either.

    Example:
        >>> hypervolume([(1000, 60.0), (10_000, 70.0)], reference=(100_000, 50.0))
        30.0
        >>> hypervolume([(1000, 10, 60.0)], reference=(100_000, 1000, 50.0))
        40.0
    """
    front = pareto_front(point for point in points if _is_within(point, reference))
    if len(reference) <= MAX_COSTS:
        return _area(front, reference)
    slices = []
    for number, point in enumerate(front):
        next_cost = front[number + 1][0] if number + 1 < len(front) else reference[0]
        if next_cost > point[0]:
            area = _area(pareto_front(other[1:] for other in front[: number + 1]), reference[1:])
            slices.append(area * log10(next_cost / point[0]))
    return sum(slices)


def _is_within(point: Point, reference: Point) -> bool:
    """Return whether a point is no worse than the reference in anything."""
    costs = zip(point[:-1], reference[:-1], strict=True)
    return point[-1] >= reference[-1] and all(cost <= limit for cost, limit in costs)


def _area(front: Sequence[Point], reference: Point) -> float:
    """Return the area that a front of a single cost, which ascends, dominates over log10 of the cost."""
    max_cost, min_accuracy = reference
    areas = []
    for number, (cost, accuracy) in enumerate(front):
        next_cost = front[number + 1][0] if number + 1 < len(front) else max_cost
        areas.append((accuracy - min_accuracy) * log10(next_cost / cost))
    return sum(areas)
