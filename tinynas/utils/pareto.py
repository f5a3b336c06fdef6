"""Pareto fronts and the hypervolume they dominate."""

from collections.abc import Callable, Iterable
from math import log10
from typing import Any, TypeVar

T = TypeVar("T")
Point = tuple[float, float]  # (MACs, accuracy in percent)


def _itself(point: Any) -> Point:
    coordinates: Point = point
    return coordinates


def pareto_front(items: Iterable[T], point: Callable[[T], Point] = _itself) -> list[T]:
    """Return the items that no other one beats in both MACs and accuracy, in ascending order.

    Args:
        items: In any order; of items with equal points, the first is kept.
        point: Returns the MACs and the accuracy of an item; by default the items are such points.

    Example:
        >>> pareto_front([(20, 70.0), (10, 50.0), (30, 60.0)])
        [(10, 50.0), (20, 70.0)]
    """
    items = list(items)
    ranked = []
    for number, item in enumerate(items):
        macs, accuracy = point(item)
        ranked.append((macs, -accuracy, number))
    front: list[T] = []
    best = float("inf")  # of the negative accuracies so far
    for _, negative_accuracy, number in sorted(ranked):
        if not front or negative_accuracy < best:
            front.append(items[number])
            best = negative_accuracy
    return front


def hypervolume(points: Iterable[Point], reference: Point) -> float:
    """Return the area that the points dominate over log10 MACs, in percentage points times decades.

    Args:
        points: (MACs, accuracy in percent), in any order.
        reference: Largest MACs and lowest accuracy; points beyond it do not count.

    Example:
        >>> hypervolume([(1000, 60.0), (10_000, 70.0)], reference=(100_000, 50.0))
        30.0
    """
    max_macs, min_accuracy = reference
    front = pareto_front(point for point in points if point[0] <= max_macs and point[1] >= min_accuracy)
    areas = []
    for number, (macs, accuracy) in enumerate(front):
        next_macs = front[number + 1][0] if number + 1 < len(front) else max_macs
        areas.append((accuracy - min_accuracy) * log10(next_macs / macs))
    return sum(areas)
