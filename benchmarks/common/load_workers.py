"""Workers that search one study together, with a stub in place of evaluations, in processes to be killed and paused."""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from tinynas import Budget, load_space
from tinynas.arch.arch import Arch
from tinynas.arch.cost import quick_cost
from tinynas.study.feasible import Feasible
from tinynas.study.history import Evaluation
from tinynas.study.loop import search
from tinynas.utils.errors import TinyNASError
from tinynas.utils.io import json_digest
from tinynas.utils.pareto import pareto_front

SECONDS = (0.1, 2.0)  # that an evaluation takes, fixed by the arch
_BUDGET = Budget(macs=1_000_000)
_LOOK = 0.05  # seconds between looks at the workers


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
    """A search of `micro` for a Pareto front within 1M MACs, with a stub in place of evaluations.

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
            Feasible(space=load_space("micro"), budget=_BUDGET),
            evaluate,
            storage=self.storage,
            trials=self.trials,
            sampler=self.sampler,
            pareto=True,
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

    def after_trial(self, new: Sequence[Evaluation], rejected: int) -> None:
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


class Workers:
    """Processes that carry out a search together, forked from this one, which has imported what they need.

    Args:
        search: The search.
        count: Number of workers at any time.
        seed: Of the choice which worker is killed or paused.
        first_number: Number of the first worker; those of the searches with a log must differ.
    """

    def __init__(self, search: StubSearch, count: int, *, seed: int = 0, first_number: int = 0) -> None:
        self.search = search
        self.count = count
        self.killed: list[int] = []
        self.pauses = 0
        self.exit_codes: dict[int, int] = {}  # of workers that ended by themselves, by number
        self._alive: dict = {}  # processes by number
        self._paused: dict[int, float] = {}  # when they continue, by number
        self._random = random.Random(seed)
        self._next_number = first_number
        self._context = get_context("fork")

    def __enter__(self) -> "Workers":
        for _ in range(self.count):
            self._start()
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._alive.values():
            process.kill()
            process.join()

    def kill_and_replace(self) -> None:
        """Kill a random worker with SIGKILL, and start another in its place."""
        number = self._random.choice(sorted(self._alive))
        process = self._alive.pop(number)
        process.kill()
        process.join()
        self.killed.append(number)
        self._start()

    def pause(self, seconds: float) -> None:
        """Stop a random worker with SIGSTOP, unless all are stopped; `run` continues it after a number of seconds."""
        awake = sorted(set(self._alive) - set(self._paused))
        if not awake:
            return
        number = self._random.choice(awake)
        os.kill(self._alive[number].pid, signal.SIGSTOP)
        self._paused[number] = time.monotonic() + seconds
        self.pauses += 1

    def run(
        self,
        disturb: Callable[[], None],
        *,
        every: float,
        at: Mapping[float, Callable[[], None]] | None = None,
        limit: float = 1200.0,
    ) -> float:
        """Disturb the workers until one has finished the search, then wait for all; return the seconds that it took.

        Args:
            disturb: Called at intervals.
            every: Seconds between two calls.
            at: What is called once after a number of seconds.
            limit: Seconds after which the search counts as stuck.

        Raises:
            RuntimeError: The search is stuck, or all workers have ended with an error.
        """
        began = time.monotonic()
        next_disturbance = every
        appointments = sorted((at or {}).items(), key=_first)
        while self._alive:
            elapsed = time.monotonic() - began
            if elapsed > limit:
                raise RuntimeError(
                    f"{len(self._alive)} workers have not finished after {limit} s; see {self.search.log}"
                )
            self._reap()
            self._continue_paused()
            if self.finished:
                time.sleep(_LOOK)
                continue
            if appointments and elapsed >= appointments[0][0]:
                appointments.pop(0)[1]()
            if elapsed >= next_disturbance and self._alive:
                next_disturbance += every
                disturb()
            time.sleep(_LOOK)
        if not self.finished:
            raise RuntimeError(f"no worker has finished, exit codes {self.exit_codes}; see {self.search.log}*")
        return time.monotonic() - began

    def wait(self) -> None:
        """Wait until all workers have ended, without an error or with one."""
        while self._alive:
            self._reap()
            time.sleep(_LOOK)

    @property
    def finished(self) -> bool:
        """Whether a worker has ended without an error."""
        return 0 in self.exit_codes.values()

    def errors(self) -> list[str]:
        """Return what workers wrote to stderr."""
        texts = []
        for path in sorted(self.search.log.parent.glob(f"{self.search.log.name}.*.err")):
            if path.read_text().strip():
                texts.append(path.read_text())
        return texts

    def _start(self) -> None:
        number = self._next_number
        self._next_number += 1
        process = self._context.Process(target=_work, args=(self.search, number))
        process.start()
        self._alive[number] = process

    def _reap(self) -> None:
        """Note the exit codes of the workers that have ended."""
        for number, process in list(self._alive.items()):
            if process.exitcode is not None:
                del self._alive[number]
                self.exit_codes[number] = process.exitcode

    def _continue_paused(self) -> None:
        for number, until in list(self._paused.items()):
            if number not in self._alive:
                del self._paused[number]
            elif time.monotonic() >= until:
                os.kill(self._alive[number].pid, signal.SIGCONT)
                del self._paused[number]


def _first(pair: tuple) -> float:
    return pair[0]


def _work(search: StubSearch, number: int) -> None:
    """Search in a process of its own, with a file in place of stderr."""
    errors = os.open(f"{search.log}.{number}.err", os.O_WRONLY | os.O_CREAT)
    os.dup2(errors, 2)
    try:
        search.run(number)
    except TinyNASError as error:
        EventLog(search.log).add("error", number, str(error))
        sys.exit(1)
