"""Workers: processes that search beside this one, on the same machine, until the study is complete.

Each is a process of its own session, which a Ctrl-C in the terminal does not reach: this process ends it. It is sent
the trained supernet and the data set, so that it neither trains nor checks image files again, and sends back messages.
It writes nothing to the terminal: what it or a library writes to its stderr is kept, and shown if it fails.
"""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from tempfile import TemporaryFile
from threading import Event, Thread
from typing import Any, BinaryIO

import torch
from torch import Tensor

from ..arch.space import SearchSpace
from ..data.base import Data
from ..experiment.search_plan import SearchPlan
from ..models.supernet import Supernet
from ..utils.errors import InputError, TinyNASError
from ..utils.io import from_json, to_json
from ..utils.machine import searching
from ..utils.text import counted
from .search_progress import SearchDisplay, SearchState

_START_SECONDS = 60.0  # to wait for the workers to start
_END_SECONDS = 10.0  # to wait for them when the search is complete
_STOP_SECONDS = 3.0  # to wait for them when they are interrupted; then they are killed
_KILL_SECONDS = 1.0  # to wait for a process that was killed


@dataclass(frozen=True, kw_only=True)
class WorkerTask:
    """What a worker is sent.

    Attributes:
        plan: The search.
        space: The search space, with the data set's classes.
        weights: The supernet's state_dict, on the CPU.
        data: The data set.
        device: Where networks are evaluated.
        threads: Number of threads of torch.
        fused: Whether the fused kernels run the networks.
    """

    plan: SearchPlan
    space: SearchSpace
    weights: dict[str, Tensor]
    data: Data
    device: torch.device
    threads: int
    fused: bool


class WorkerMessages:
    """Sends messages to the process that started this worker; they are lines of JSON.

    Args:
        stream: Where to write them.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def ready(self) -> None:
        """Say that the search begins."""
        self._send("ready", None)

    def note(self, text: str) -> None:
        """Send a message of one line, to be shown."""
        self._send("note", text)

    def show(self, state: SearchState) -> None:
        """Send the state of the search."""
        self._send("state", asdict(state))

    def _send(self, kind: str, content: Any) -> None:
        self._stream.write(to_json([kind, content]).encode() + b"\n")
        self._stream.flush()


@contextmanager
def workers_beside(plan: SearchPlan, supernet: Supernet, data: Data, display: SearchDisplay) -> Iterator[None]:
    """Run all but one of the plan's workers as processes that search beside the body, the threads divided up.

    Raises:
        InputError: The data set cannot be sent to another process.
    """
    count = plan.settings.workers - 1
    if not count:
        yield
        return
    threads = torch.get_num_threads()
    threads_per_worker = max(1, threads // plan.settings.workers)
    weights = {name: tensor.cpu() for name, tensor in supernet.state_dict().items()}
    task = WorkerTask(
        plan=plan,
        space=supernet.space,
        weights=weights,
        data=data,
        device=next(supernet.parameters()).device,
        threads=threads_per_worker,
        fused=supernet.fused,
    )
    content = _pickled(task)
    display.note(f"search: starting {counted(count, 'worker')} beside this process")
    workers: list[_Worker] = []
    try:
        with searching(plan.settings.workers):
            for number in range(2, plan.settings.workers + 1):
                workers.append(_Worker(number, content, display))
            for worker in workers:
                worker.started.wait(_START_SECONDS)
            torch.set_num_threads(threads_per_worker)
            yield
            _wait(workers, _END_SECONDS)
    finally:
        torch.set_num_threads(threads)
        _stop(workers)


def _pickled(task: WorkerTask) -> bytes:
    """Return a task as bytes.

    Raises:
        InputError: The data set has something that cannot be sent, such as a function that is defined in a function.
    """
    try:
        return pickle.dumps(task)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(
            f"the data set {task.plan.config.data} cannot be sent to other processes ({error}); search with --workers 1"
        ) from None


def _wait(workers: Sequence["_Worker"], seconds: float) -> None:
    """Wait until all workers have ended, so many seconds at most."""
    deadline = time.monotonic() + seconds
    for worker in workers:
        worker.wait(max(0.0, deadline - time.monotonic()))


def _stop(workers: Sequence["_Worker"]) -> None:
    """End the workers that have not ended; each can first release the network that it evaluates."""
    try:
        for worker in workers:
            worker.terminate()
        _wait(workers, _STOP_SECONDS)
    finally:
        for worker in workers:
            worker.kill()


class _Worker:
    """A worker's process, and a thread that sends it its task and shows its messages.

    Args:
        number: Its number among the processes of the search; this process is the first.
        task: A pickled WorkerTask.
        display: Shows its messages, and why it ended if it failed.

    Attributes:
        started: Set when it begins to search, or ends.
    """

    def __init__(self, number: int, task: bytes, display: SearchDisplay) -> None:
        self.started = Event()
        self._number = number
        self._display = display
        self._is_stopped = False
        self._stderr = TemporaryFile()  # noqa: SIM115 - closed when the process has ended
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tinynas.pipelines.search_worker", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,
        )
        self._thread = Thread(target=self._serve, args=(task,), name=f"worker {number}", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait until the process has ended and its messages are shown, so many seconds at most."""
        self._thread.join(seconds)

    def terminate(self) -> None:
        """Interrupt the process, unless it has ended."""
        self._is_stopped = True
        self._process.terminate()

    def kill(self) -> None:
        """Kill the process and those that it has started, unless it has ended."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self.wait(_KILL_SECONDS)

    def _serve(self, task: bytes) -> None:
        """Send the task, show messages until the process has ended, and say why if it failed."""
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError), self._process.stdin as stdin:
            stdin.write(task)
        with self._process.stdout as messages:
            for line in messages:
                self._receive(line)
        code = self._process.wait()
        self.started.set()
        with self._stderr:
            if code and not self._is_stopped:
                self._note(f"worker {self._number} has ended: {self._reason(code)}; the search continues without it")

    def _receive(self, line: bytes) -> None:
        """Show a message."""
        kind, content = from_json(line.decode())
        self.started.set()
        if kind == "note":
            self._note(f"worker {self._number}: {content}")
        elif kind == "state":
            with suppress(TinyNASError, OSError):
                self._display.show(self._number, SearchState(**content))

    def _note(self, text: str) -> None:
        """Show a line. If the output is a file on a full disk, the main thread meets the error too and raises it."""
        with suppress(TinyNASError, OSError):
            self._display.note(text)

    def _reason(self, code: int) -> str:
        """Return why the process ended: the signal that killed it, or the last line that it wrote to stderr."""
        if code < 0:
            return f"it was killed by {signal.Signals(-code).name}"
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").split("\n")
        written = [line.strip() for line in lines if line.strip()]
        return written[-1] if written else f"exit code {code}"
