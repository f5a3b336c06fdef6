"""Workers: the processes that search a study together, and how each notices that another has died.

A worker is known by a random id. Where it ran decides how its death is noticed. On the same kernel and in the same
namespace of process ids, it is dead if no process has its process id and start time. Anywhere else, on another machine
or in another container, it is dead if its heartbeat has not changed for a while. Neither a host name nor a process id
alone decides: containers share names and ids.
"""

import os
import threading
import time
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from socket import gethostname
from types import TracebackType
from typing import Any
from uuid import uuid4

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")
_ids_at_work: set[str] = set()  # of this process's workers


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A process that searches.

    Attributes:
        id: Random, for each search.
        host: Name of its machine, for messages.
        boot: The kernel's id since it was booted; empty where there is none (not Linux).
        namespace: Namespace of its process id; empty where there is none.
        pid: Its process id in that namespace.
        started: When the process began, in clock ticks since the boot; -1 where it is not known.
    """

    id: str
    host: str
    boot: str
    namespace: str
    pid: int
    started: int

    @classmethod
    @contextmanager
    def at_work(cls) -> Iterator["Worker"]:
        """Let this process be a worker, with a new id, while the body runs."""
        worker = cls(
            id=uuid4().hex[:12],
            host=gethostname(),
            boot=_boot_id(),
            namespace=_namespace(),
            pid=os.getpid(),
            started=_start_time(os.getpid()),
        )
        _ids_at_work.add(worker.id)
        try:
            yield worker
        finally:
            _ids_at_work.remove(worker.id)

    @classmethod
    def from_dict(cls, plain: object) -> "Worker | None":
        """Return the worker that a trial names; None if it names none, as trials of earlier versions do."""
        if not isinstance(plain, Mapping) or set(plain) != set(cls.__dataclass_fields__):
            return None
        return cls(**plain)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for a trial."""
        return asdict(self)

    def is_known_dead(self) -> bool:
        """Return whether it is known to be gone: it ran where this process would see it, and does not run."""
        if not self.boot or not self.namespace or self.started < 0:
            return False
        if (self.boot, self.namespace) != (_boot_id(), _namespace()):
            return False
        if _start_time(self.pid) != self.started:
            return True
        return self.pid == os.getpid() and self.id not in _ids_at_work

    def __str__(self) -> str:
        return f"worker {self.id[:6]} (process {self.pid} on {self.host})"


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return os.readlink(_NAMESPACE)
    except OSError:
        return ""


def _start_time(pid: int) -> int:
    """Return when a process began, in clock ticks since the boot; -1 if there is none, or it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1
    state, started = fields[0], fields[19]
    return -1 if state in "ZX" else int(started)  # a zombie has ended


class Heartbeat:
    """Calls a function with 1, 2, 3, ... at intervals, in a thread, while the body runs.

    What the function raises is ignored: the search itself meets a storage that fails.
    """

    def __init__(self, beat: Callable[[int], None], interval: float) -> None:
        self._beat = beat
        self._interval = interval
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stopped.set()

    def _run(self) -> None:
        number = 0
        while not self._stopped.wait(self._interval):
            number += 1
            try:
                self._beat(number)
            except Exception:  # a database is away for a while, or another worker has taken the trial
                continue


class Liveness:
    """Decides whether the workers of trials are dead, by what this process has seen of them.

    Args:
        grace: Seconds without a change of the heartbeat after which a worker counts as dead.
        interval: Seconds between two heartbeats. A pause of this process counts as no more than that: after a
            standstill of the whole machine everyone has time for a heartbeat.
        clock: Returns seconds.
    """

    def __init__(self, *, grace: float, interval: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._grace = grace
        self._interval = interval
        self._clock = clock
        self._seen: dict[int, _Seen] = {}  # by number of the trial

    def is_dead(self, number: int, worker: Worker | None, heartbeat: int) -> bool:
        """Return whether the worker of a running trial is dead.

        Args:
            number: The trial's number.
            worker: Who evaluates it, if that is known.
            heartbeat: Its newest heartbeat.
        """
        if worker is not None and worker.is_known_dead():
            return True
        now = self._clock()
        seen = self._seen.get(number)
        if seen is None or seen.heartbeat != heartbeat:
            self._seen[number] = _Seen(heartbeat=heartbeat, silent=0.0, looked_at=now)
            return False
        seen.silent += min(now - seen.looked_at, self._interval)
        seen.looked_at = now
        return seen.silent > self._grace

    def keep(self, running: Container[int]) -> None:
        """Forget the trials that no longer run.

        Args:
            running: Numbers of those that do.
        """
        for number in list(self._seen):
            if number not in running:
                del self._seen[number]


@dataclass
class _Seen:
    """What was last seen of a trial: its heartbeat, for how long that did not change, and when it was looked at."""

    heartbeat: int
    silent: float
    looked_at: float
