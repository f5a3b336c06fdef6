"""Processes that carry out a search together, to be killed and paused."""

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing import get_context

from tinynas.utils.errors import TinyNASError

from .load_search import EventLog, StubSearch

_LOOK = 0.05  # seconds between looks at the workers


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
