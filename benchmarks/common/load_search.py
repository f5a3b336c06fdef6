"""A search that many workers share, with a stub in place of evaluations and a log of what each does."""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinynas import Budget, load_space
from tinynas.arch.arch import Arch
from tinynas.arch.cost import quick_cost
from tinynas.study.feasible import Feasible
from tinynas.study.history import Evaluation
from tinynas.study.loop import search
from tinynas.utils.io import json_digest
from tinynas.utils.pareto import pareto_front

SECONDS = (0.1, 2.0)  # that an evaluation takes, fixed by the arch
_BUDGET = Budget(macs=1_000_000)


def network_digest(arch: Arch) -> str:
    """Return what an arch is called in logs."""
    return json_digest(arch.to_dict())[:16]


def stub_score(arch: Arch) -> float:
    """Return a stand-in for the accuracy of an arch: rises with MACs, with noise that is fixed by the arch."""
    macs = quick_cost(arch).macs
    return 30 + 40 * (macs / 1_000_000) ** 0.3 + 20 * _fraction(arch, digit=0)


def stub_seconds(arch: Arch) -> float:
    """Return how long the evaluation of an arch takes."""
    low, high = SECONDS
    return low + (high - low) * _fraction(arch, digit=8)


def _fraction(arch: Arch, *, digit: int) -> float:
    """Return a number from 0 to 1 from 8 hexadecimal digits of the arch's digest."""
    return int(network_digest(arch)[digit : digit + 8], 16) / 0xFFFFFFFF


def front_digest(evaluations: list[Evaluation]) -> str:
    """Return a digest of the Pareto front of evaluations."""
    points = []
    for evaluation in pareto_front(evaluations, _point):
        points.append([network_digest(evaluation.arch), evaluation.accuracy])
    return json_digest(points)


def _point(evaluation: Evaluation) -> tuple[float, float]:
    return evaluation.cost.macs, evaluation.accuracy


class EventLog:
    """A file of events, one a line, that many processes append to; it survives their death."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, event: str, worker: int, what: str) -> None:
        """Append an event by one write."""
        line = json.dumps({"time": time.time(), "event": event, "worker": worker, "what": what})
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(descriptor, line.encode() + b"\n")
        finally:
            os.close(descriptor)

    def read(self) -> list[dict]:
        """Return the events in their order."""
        return [json.loads(line) for line in self.path.read_text().splitlines()]


@dataclass(frozen=True, kw_only=True)
class StubSearch:
    """A search of `micro-v1` for a Pareto front within 1M MACs, with a stub in place of evaluations.

    Attributes:
        storage: Path of a journal file, or URL of a database.
        trials: Number of networks.
        log: File of the events, which is shared by all workers.
        grace: Seconds without a heartbeat after which a worker counts as dead.
        sampler: Name of the sampler.
        sleeps: Whether an evaluation takes its time.
        sample_every: Evaluations of all workers between two samples of a worker's time and memory; 0: no samples.
    """

    storage: str
    trials: int
    log: Path
    grace: float = 60.0
    sampler: str = "random"
    sleeps: bool = True
    sample_every: int = 0

    def run(self, worker: int) -> list[Evaluation]:
        """Search as the worker of this number; return the evaluations of all workers."""
        log = EventLog(self.log)

        def evaluate(arch: Arch) -> float:
            name = network_digest(arch)
            log.add("begin", worker, name)
            if self.sleeps:
                time.sleep(stub_seconds(arch))
            log.add("end", worker, name)
            return stub_score(arch)

        def note(line: str) -> None:
            log.add("note", worker, line)

        usage = _Usage(log, worker, self.sample_every)
        outcome = search(
            Feasible(space=load_space("micro-v1"), budget=_BUDGET),
            evaluate,
            storage=self.storage,
            trials=self.trials,
            sampler=self.sampler,
            objectives=("macs",),
            after_trial=usage.after_trial,
            note=note,
            grace=self.grace,
        )
        log.add("front", worker, front_digest(outcome.evaluations))
        return outcome.evaluations


class _Usage:
    """Logs the processor time and memory of a worker whenever the study has a number of evaluations more."""

    def __init__(self, log: EventLog, worker: int, every: int) -> None:
        self._log = log
        self._worker = worker
        self._every = every
        self._evaluations = 0
        self._next_sample = every

    def after_trial(self, new: Sequence[Evaluation], dropped: int, rejected: int) -> None:
        """Count the new evaluations of all workers."""
        self._evaluations += len(new)
        if self._every and self._evaluations >= self._next_sample:
            self._next_sample = self._evaluations - self._evaluations % self._every + self._every
            sample = [self._evaluations, time.process_time(), _resident_bytes()]
            self._log.add("sample", self._worker, json.dumps(sample))


def _resident_bytes() -> int:
    """Return the memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
