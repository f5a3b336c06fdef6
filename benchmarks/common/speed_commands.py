"""The part `commands` of speed.py: whole commands, beside an earlier version of the package."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from tinynas.data.registry import load_data
from tinynas.kernels.library import KernelsUnavailableError, load_library

from .timing import summary

ROUNDS = 2
GOAL = "<= 0.45"
ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("quickstart", "search --space micro --data fashion-mnist --flops 300K --epochs 2 --trials 20")


def measure_commands(before: str) -> Iterator[dict]:
    """Yield the rows of each command: its time over that of an earlier version, as long as it runs and of processors.

    The two alternate, each first every other time, on as many threads as they choose. The data set has been downloaded
    and the kernels have been compiled before, as at a second use.

    Args:
        before: The folder of a checkout of the earlier version.
    """
    load_data("fashion-mnist")
    try:
        load_library()
    except KernelsUnavailableError as error:
        print(f"speed: commands run without the fused kernels: {error}")
    for command in COMMANDS:
        wall_ratios, processor_ratios, wall_times, wall_times_before = [], [], [], []
        for number in range(ROUNDS):
            versions = [ROOT, Path(before).resolve()]
            if number % 2:
                versions.reverse()
            measured = {version: run_command(version, command) for version in versions}
            (wall, processor), (wall_before, processor_before) = measured[ROOT], measured[Path(before).resolve()]
            wall_ratios.append(wall / wall_before)
            processor_ratios.append(processor / processor_before)
            wall_times.append(wall)
            wall_times_before.append(wall_before)
        what = f"tinynas {command}"
        yield summary(f"{what}: seconds", wall_times, aim="")
        yield summary(f"{what}: seconds, earlier version", wall_times_before, aim="")
        yield summary(f"{what}: now / earlier version", wall_ratios, aim=GOAL)
        yield summary(f"{what}: now / earlier version, processor time", processor_ratios, aim="")


def run_command(version: Path, command: str) -> tuple[float, float]:
    """Run a command of a version in an empty folder; return the seconds that passed, and those of processors."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment["PYTHONPATH"] = str(version)
    words = [sys.executable, "-m", "tinynas.cli", *command.split()]
    with TemporaryDirectory() as folder:
        used, start = children_seconds(), time.perf_counter()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd=folder, env=environment)
        return time.perf_counter() - start, children_seconds() - used


def children_seconds() -> float:
    """Return the processor seconds of all processes that this one has started and that have ended."""
    times = os.times()
    return times.children_user + times.children_system
