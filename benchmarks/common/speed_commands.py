"""The parts `commands` and `threads` of speed.py: whole commands, beside an earlier version, and on two cores."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tinynas.data.registry import load_data
from tinynas.kernels.shared_library import KernelsUnavailableError, load_library

from .timing import summary

ROUNDS = 2
GOAL = "<= 0.45"
ROOT = Path(__file__).resolve().parents[2]
ON_CORES = "search --space micro-v1 --data fashion-mnist --flops 300K --epochs 1 --trials 1 --batch-size 128"
COMMANDS = ("quickstart", "search --space micro-v1 --data fashion-mnist --flops 300K --epochs 2 --trials 20")


class CommandTime(NamedTuple):
    """How long a command takes."""

    seconds: float
    processor_seconds: float  # of all its threads and processes


def measure_commands(before: str) -> Iterator[dict]:
    """Yield the rows of each command: its time over that of an earlier version, as long as it runs and of processors.

    The two alternate, each first every other time, on as many threads as they choose. The data set has been downloaded
    and the kernels have been compiled before, as at a second use. The machine must be idle: threads that wait for a
    core slow down PyTorch far more than the kernels, and the ratio would be too good.

    Args:
        before: The folder of a checkout of the earlier version, in which the space has the same name.
    """
    load_data("fashion-mnist")
    try:
        load_library()
    except KernelsUnavailableError as error:
        print(f"speed: commands run without the fused kernels: {error}")
    for command in COMMANDS:
        seconds, seconds_before, ratios, processor_ratios = [], [], [], []
        for number in range(ROUNDS):
            if number % 2:
                earlier, now = run_command(Path(before), command), run_command(ROOT, command)
            else:
                now, earlier = run_command(ROOT, command), run_command(Path(before), command)
            seconds.append(now.seconds)
            seconds_before.append(earlier.seconds)
            ratios.append(now.seconds / earlier.seconds)
            processor_ratios.append(now.processor_seconds / earlier.processor_seconds)
        what = f"tinynas {command}"
        yield summary(f"{what}: seconds", seconds, aim="")
        yield summary(f"{what}: seconds, earlier version", seconds_before, aim="")
        yield summary(f"{what}: now / earlier version", ratios, aim=GOAL)
        yield summary(f"{what}: now / earlier version, processor time", processor_ratios, aim="")


def measure_threads() -> Iterator[dict]:
    """Yield the time of training a supernet on two threads, and in two processes of torchrun, over that on one thread.

    The command also reads the data and evaluates a network. The machine must be idle.
    """
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node=2")
    on_threads, in_processes = [], []
    for _ in range(ROUNDS):
        alone = run_command(ROOT, ON_CORES, threads=1).seconds
        on_threads.append(run_command(ROOT, ON_CORES, threads=2).seconds / alone)
        in_processes.append(run_command(ROOT, ON_CORES, threads=1, launcher=torchrun).seconds / alone)
    yield summary(f"tinynas {ON_CORES}: 2 threads / 1 thread", on_threads, aim="")
    yield summary(f"tinynas {ON_CORES}: torchrun with 2 processes / 1 thread", in_processes, aim="")


def run_command(
    version: Path, command: str, *, threads: int | None = None, launcher: Sequence[str] = ()
) -> CommandTime:
    """Run a command in an empty folder.

    Args:
        version: The folder of the version's checkout.
        command: What follows "tinynas".
        threads: Of a process; None lets it choose.
        launcher: Arguments of Python that start the processes.
    """
    environment = os.environ | {"PYTHONPATH": str(version.resolve())}
    environment.pop("OMP_NUM_THREADS", None)
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    words = [sys.executable, *launcher, "-m", "tinynas.cli", *command.split()]
    with TemporaryDirectory() as folder:
        used, start = children_seconds(), time.perf_counter()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd=folder, env=environment)
        return CommandTime(seconds=time.perf_counter() - start, processor_seconds=children_seconds() - used)


def children_seconds() -> float:
    """Return the processor seconds of all processes that this one has started and that have ended."""
    times = os.times()
    return times.children_user + times.children_system
