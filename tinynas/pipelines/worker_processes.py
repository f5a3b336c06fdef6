"""Worker processes: they carry out a task beside this process, on the same machine, and report to it.

Each is a process of its own session, which a Ctrl-C in the terminal does not reach: this process ends it. It is sent
its task, and sends back messages. It writes nothing to the terminal: what it or a library writes to its stderr is kept,
and shown if it fails.
"""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from threading import Event, Thread
from typing import Any, BinaryIO, Protocol

import torch

from ..utils.errors import InputError, TinyNASError
from ..utils.io import from_json, to_json
from ..utils.machine import sharing_machine

_START_SECONDS = 60.0  # to wait for the workers to start
_STOP_SECONDS = 3.0  # to wait for them when they are interrupted; then they are killed
_KILL_SECONDS = 1.0  # to wait for a process that was killed


class Messages:
    """Sends messages to the process that started this worker; they are lines of JSON.

    Args:
        stream: Where to write them.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def ready(self) -> None:
        """Say that the work begins."""
        self.send("ready", None)

    def note(self, text: str) -> None:
        """Send a message of one line, to be shown."""
        self.send("note", text)

    def send(self, kind: str, content: Any) -> None:
        """Send a message of another kind, whose content JSON can hold."""
        self._stream.write(to_json([kind, content]).encode() + b"\n")
        self._stream.flush()


class WorkerTask(Protocol):
    """What a worker is sent, pickled, and carries out."""

    def run(self, messages: Messages) -> None:
        """Carry it out."""


class WorkerDisplay(Protocol):
    """Shows what workers report; its methods are called in threads."""

    def note(self, text: str) -> None:
        """Show a message of one line."""

    def receive(self, number: int, kind: str, content: Any) -> None:
        """Show a message of another kind of the worker of a number."""


@contextmanager
def workers_beside(
    make_task: Callable[[int], WorkerTask],
    processes: int,
    display: WorkerDisplay,
    *,
    what: str,
    announcement: str = "",
    end_seconds: float | None = None,
) -> Iterator[None]:
    """Run all but one of some processes as workers beside the body, the threads of torch divided up.

    Args:
        make_task: Returns the task of all workers, given each one's number of threads.
        processes: How many processes work in all.
        display: Shows what they report.
        what: What goes on without a worker that has failed: "the search".
        announcement: Shown when their task is ready, before they start; empty: nothing is.
        end_seconds: How long to wait for the workers when the body has ended; then they are interrupted. None: as long
            as they take.

    Raises:
        InputError: The task cannot be sent to another process.
    """
    threads = torch.get_num_threads()
    threads_per_worker = max(1, threads // processes)
    content = _pickled(make_task(threads_per_worker))
    if announcement:
        display.note(announcement)
    workers: list[WorkerProcess] = []
    try:
        with sharing_machine(processes):
            for number in range(2, processes + 1):
                workers.append(WorkerProcess(number, content, display, what=what))
            for worker in workers:
                worker.started.wait(_START_SECONDS)
            torch.set_num_threads(threads_per_worker)
            yield
            _wait(workers, end_seconds)
    finally:
        torch.set_num_threads(threads)
        stop(workers)


def _pickled(task: WorkerTask) -> bytes:
    """Return a task as bytes.

    Raises:
        InputError: It has something that cannot be sent, such as a function that is defined in a function.
    """
    try:
        return pickle.dumps(task)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(f"{task} cannot be sent to other processes ({error}); use --workers 1") from None


def _wait(workers: Sequence["WorkerProcess"], seconds: float | None) -> None:
    """Wait until all workers have ended, so many seconds at most."""
    deadline = None if seconds is None else time.monotonic() + seconds
    for worker in workers:
        worker.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))


def stop(workers: Sequence["WorkerProcess"]) -> None:
    """End the workers that have not ended; each can first release what it works on."""
    try:
        for worker in workers:
            worker.terminate()
        _wait(workers, _STOP_SECONDS)
    finally:
        for worker in workers:
            worker.kill()


class WorkerProcess:
    """A worker's process, and a thread that sends it its task and shows its messages.

    Args:
        number: Its number among the processes that work together; this process is the first.
        task: A pickled WorkerTask.
        display: Shows its messages, and why it ended if it failed.
        what: What goes on without it if it has failed.

    Attributes:
        started: Set when it begins to work, or ends.
    """

    def __init__(self, number: int, task: bytes, display: WorkerDisplay, *, what: str) -> None:
        self.started = Event()
        self._number = number
        self._display = display
        self._what = what
        self._is_stopped = False
        self._stderr = TemporaryFile()  # noqa: SIM115 - closed when the process has ended
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tinynas.pipelines.worker", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,
        )
        self._thread = Thread(target=self._serve, args=(task,), name=f"worker {number}", daemon=True)
        self._thread.start()

    def wait(self, seconds: float | None) -> None:
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
                self._note(f"worker {self._number} has ended: {self._reason(code)}; {self._what} continues without it")

    def _receive(self, line: bytes) -> None:
        """Show a message."""
        kind, content = from_json(line.decode())
        self.started.set()
        if kind == "note":
            self._note(f"worker {self._number}: {content}")
        elif kind != "ready":
            with suppress(TinyNASError, OSError):
                self._display.receive(self._number, kind, content)

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
