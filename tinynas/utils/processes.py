"""Processes that end when they are told to, and with the process that started them."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

TERMINATED = 128 + signal.SIGTERM  # exit code after SIGTERM, by the shells' convention
_POLL_SECONDS = 0.5


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Let SIGTERM raise SystemExit in the main thread, so that the body cleans up; afterwards restore the handler."""
    previous = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _exit(number: int, frame: FrameType | None) -> None:
    """Raise SystemExit, once: a second signal does not interrupt the cleanup."""
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(TERMINATED)


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Let SIGINT and SIGTERM take effect after the body, which must not be interrupted, such as one that forks.

    Processes that the body forks are not interrupted by SIGINT at all: a terminal sends Ctrl-C to them too, but it is
    their parent that ends them.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread is interrupted
        yield
        return
    received: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        received.append(number)

    previous = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, remember)
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for number_received in received:
            signal.raise_signal(number_received)


def watch_parent(parent: int, on_orphaned: Callable[[], None]) -> None:
    """Call a function, in a thread, as soon as the process that started this one is gone.

    Args:
        parent: Process id of the parent.
        on_orphaned: Ends this process.
    """
    threading.Thread(target=_watch, args=(parent, on_orphaned), name="watch parent", daemon=True).start()


def _watch(parent: int, on_orphaned: Callable[[], None]) -> None:
    """Wait until this process has another parent; no pipe is needed, whose ends other processes would inherit."""
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    on_orphaned()
