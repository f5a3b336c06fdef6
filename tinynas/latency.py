"""How long a network takes on the machine that runs this, measured and not looked up."""

import time
from dataclasses import asdict
from functools import cache
from statistics import median

import torch

from .arch import Arch
from .cost import TimedCost, cost
from .nets import build, fold

_WARM_UP = 3  # runs before the clock counts
_RUNS = 15  # at least
_SECONDS = 0.05  # at least, of all runs


def latency(arch: Arch, *, batch: int = 1) -> float:
    """Median seconds in which the folded network runs once on `batch` images: PyTorch, fp32, one CPU thread.

    The thread's processor time is taken, so that other processes on the machine disturb it little.
    """
    net = fold(build(arch).eval())
    images = torch.zeros(batch, arch.in_channels, arch.resolution, arch.resolution)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for _ in range(_WARM_UP):
                net(images)
            seconds: list[float] = []
            while len(seconds) < _RUNS or sum(seconds) < _SECONDS:
                began = time.thread_time()
                net(images)
                seconds.append(time.thread_time() - began)
    finally:
        torch.set_num_threads(threads)
    return median(seconds)


@cache
def timed_cost(arch: Arch) -> TimedCost:
    """The arch's counts, and the latency of one image; measured once in a process."""
    return TimedCost(**asdict(cost(arch)), latency=latency(arch))
