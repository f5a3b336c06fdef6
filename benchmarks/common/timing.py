"""Times of several ways of doing the same, measured side by side in one process."""

import time
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any

Run = Callable[[], object]


def seconds(run: Run) -> float:
    """Return the processor seconds that a call takes: other processes disturb them less than the time that passes."""
    start = time.process_time()
    run()
    return time.process_time() - start


def time_rounds(rounds: Iterable[Sequence[Run]]) -> list[list[float]]:
    """Return the processor seconds of each call of each round.

    The calls of a round run one right after the other, and every round begins with another of them. The first round
    warms up and is not counted.
    """
    times = []
    for number, runs in enumerate(rounds):
        round_times = [0.0] * len(runs)
        for i in range(len(runs)):
            position = (number + i) % len(runs)
            round_times[position] = seconds(runs[position])
        times.append(round_times)
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


def rates(times: Sequence[Sequence[float]], position: int) -> list[float]:
    """Return how often one of the calls could run in a second, by round."""
    return [1 / round_times[position] for round_times in times]


def ratios(times: Sequence[Sequence[float]], first: int, second: int) -> list[float]:
    """Return the time of one call over that of another, by round."""
    return [round_times[first] / round_times[second] for round_times in times]
