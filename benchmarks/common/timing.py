"""Times of two ways of doing the same, measured side by side in one process."""

import time
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any

Pair = tuple[Callable[[], object], Callable[[], object]]


def seconds(run: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def time_pairs(pairs: Iterable[Pair]) -> list[tuple[float, float]]:
    """Return the seconds of both calls of each pair.

    The two run one right after the other, each first every other time. The first pair warms up and is not counted.
    """
    times = []
    for number, (first, second) in enumerate(pairs):
        if number % 2:
            second_time = seconds(second)
            first_time = seconds(first)
        else:
            first_time = seconds(first)
            second_time = seconds(second)
        times.append((first_time, second_time))
    return times[1:]


def summary(what: str, values: Sequence[float], **more: Any) -> dict[str, Any]:
    """Return a row of results: what was measured, its median and range, and what else belongs to it."""
    return {
        "what": what,
        "median": median(values),
        "smallest": min(values),
        "largest": max(values),
        "rounds": len(values),
        **more,
    }
