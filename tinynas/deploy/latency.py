"""How long a network takes on the machine that runs this, measured and not looked up."""

import time
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from statistics import median

import torch

from ..arch.arch import Arch
from ..arch.cost import TimedCost, cost
from ..models.network import build, fold

_WARM_UP = 3  # runs before the clock counts
_RUNS = 15  # at least
_SECONDS = 0.05  # at least, of all runs


def latency(arch: Arch, *, batch: int = 1) -> float:
    """Median seconds in which the folded network runs once on `batch` images: PyTorch, fp32, one CPU thread.

    The thread's processor time is taken, so that other processes on the machine disturb it little.
    """
    net = fold(build(arch).eval())
    images = torch.zeros(batch, arch.in_channels, arch.resolution, arch.resolution)
    return median_seconds(lambda: net(images))


def median_seconds(run: Callable[[], object]) -> float:
    """Of one run, in processor time of this thread: torch is told to use no other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for _ in range(_WARM_UP):
                run()
            seconds: list[float] = []
            while len(seconds) < _RUNS or sum(seconds) < _SECONDS:
                began = time.thread_time()
                run()
                seconds.append(time.thread_time() - began)
    finally:
        torch.set_num_threads(threads)
    return median(seconds)


@cache
def timed_cost(arch: Arch) -> TimedCost:
    """The arch's counts, and the latency of one image; measured once in a process."""
    return TimedCost(**asdict(cost(arch)), latency=latency(arch))
