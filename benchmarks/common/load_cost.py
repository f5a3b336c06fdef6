"""What the bookkeeping of a search takes, from its hundredth trial to its ten-thousandth."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from .load_search import EventLog, StubSearch
from .load_workers import Workers

SAMPLE_EVERY = 100  # evaluations
_SHOWN_WINDOW = 200  # evaluations over which a trial's time is averaged


def measure_cost(folder: Path, sampler: str, workers: int, trials: int) -> dict[str, Any]:
    """Search with evaluations that take no time.

    Returns:
        evaluations: Numbers of evaluations, ascending.
        milliseconds: Processor time for an evaluation up to that number, of all workers together.
        megabytes: Memory of the first worker at that number.
    """
    search = StubSearch(
        storage=str(folder / "study.journal"),
        trials=trials,
        log=folder / "log",
        sampler=sampler,
        sleeps=False,
        sample_every=SAMPLE_EVERY,
    )
    with Workers(search, workers) as processes:
        processes.wait()
        if not processes.finished or processes.errors():
            raise RuntimeError(f"a worker failed: {processes.exit_codes}, {processes.errors()}; see {search.log}")
    return summarise_samples(EventLog(search.log).read(), trials)


def summarise_samples(events: list[dict], trials: int) -> dict[str, Any]:
    """Return time and memory over the evaluations, from the samples in a log."""
    samples: dict[int, list[list[float]]] = defaultdict(list)
    for event in events:
        if event["event"] == "sample":
            samples[event["worker"]].append(json.loads(event["what"]))
    evaluations, milliseconds, megabytes = [], [], []
    for number in range(2 * SAMPLE_EVERY, trials + 1, SAMPLE_EVERY):
        before = max(number - _SHOWN_WINDOW, SAMPLE_EVERY)
        seconds = 0.0
        for of_worker in samples.values():
            seconds += _at(of_worker, number, 1) - _at(of_worker, before, 1)
        evaluations.append(number)
        milliseconds.append(round(1000 * seconds / (number - before), 3))
        megabytes.append(round(_at(samples[0], number, 2) / 1e6, 2))
    return {"evaluations": evaluations, "milliseconds": milliseconds, "megabytes": megabytes}


def _at(samples: list[list[float]], evaluations: int, column: int) -> float:
    """Return a value at a number of evaluations, between those of the samples before and after it."""
    earlier = samples[0]
    for later in samples:
        if later[0] >= evaluations:
            span = later[0] - earlier[0]
            part = (evaluations - earlier[0]) / span if span else 0.0
            return earlier[column] + max(part, 0.0) * (later[column] - earlier[column])
        earlier = later
    return earlier[column]
