"""Pareto fronts and the hypervolume they dominate."""

from collections.abc import Callable, Iterable
from math import log10
from typing import TypeVar

T = TypeVar("T")
Point = tuple[float, float]  # (MACs, accuracy in percent)


def front(items: Iterable[T], point: Callable[[T], Point]) -> list[T]:
    """The items that no other beats in both MACs and accuracy, from few MACs to many; of equal ones, the first."""
    best: list[T] = []
    for item in sorted(items, key=lambda item: (point(item)[0], -point(item)[1])):
        if not best or point(item)[1] > point(best[-1])[1]:
            best.append(item)
    return best


def hypervolume(points: Iterable[Point], reference: Point) -> float:
    """The area that the points dominate over log10 MACs, in percentage points times decades.

    `reference` is (largest MACs, lowest accuracy); points beyond it count nothing.
    """
    limit, floor = reference
    inside = [p for p in points if p[0] <= limit and p[1] >= floor]
    steps = front(inside, lambda p: p)
    ends = [*(macs for macs, _ in steps), limit][1:]
    return sum((accuracy - floor) * log10(end / macs) for (macs, accuracy), end in zip(steps, ends, strict=True))
