"""How the processes of a command share the machine's cores."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import InputError

LOADERS_VARIABLE = "TINYNAS_LOADERS"  # environment variable with the number of loading processes; --loader-workers
_PROCESSES_VARIABLE = "TINYNAS_PROCESSES"  # with the number of processes of a command, set by the one that starts them
_MOST_LOADERS = 16  # by default: they read and resize some 5,000 photographs a second


def loader_workers() -> int:
    """Return the number of processes that load images for this process.

    It is that of TINYNAS_LOADERS, which --loader-workers sets, or this process's share of the cores: at least 1, at
    most 16.

    Raises:
        InputError: TINYNAS_LOADERS is not a number.
    """
    text = os.environ.get(LOADERS_VARIABLE, "")
    if not text:
        return max(1, min(_MOST_LOADERS, num_cores() // processes_on_machine()))
    if not text.isdecimal():
        raise InputError(f"{LOADERS_VARIABLE} must be a number of processes, but is {text!r}; set it to 0 or more")
    return int(text)


def set_loader_workers(count: int) -> None:
    """Set the number of processes that load images, for this process and those that it starts."""
    os.environ[LOADERS_VARIABLE] = str(count)


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processes_on_machine() -> int:
    """Return how many processes of the command share this machine: those of torchrun, or of --workers."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) * int(os.environ.get(_PROCESSES_VARIABLE, "1"))


@contextmanager
def sharing_machine(processes: int) -> Iterator[None]:
    """Let so many processes of a command share the machine in the body: this one, and those that the body starts."""
    os.environ[_PROCESSES_VARIABLE] = str(processes)
    try:
        yield
    finally:
        del os.environ[_PROCESSES_VARIABLE]
