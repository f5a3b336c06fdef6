"""Latency: the time that a network takes on the machine that runs this, measured, not looked up."""

import time
from collections.abc import Callable
from functools import cache, partial
from statistics import median

import torch

from ..arch.arch import Arch
from ..arch.lowering import lower
from ..models.network import build, example_input, fold
from .lowered_run import layer_weights
from .onnx import create_session
from .onnx_graph import to_onnx_graph

_WARM_UP = 3  # runs that are not timed
_MIN_RUNS = 15
_MIN_SECONDS = 0.05  # of all timed runs together


class MachineLatency:
    """The time on this machine as `MeasuredCosts`: every arch is measured once per process."""

    digest = ""

    def measure(self, arch: Arch) -> dict[str, float]:
        """Return the median seconds of one run on one image, by name."""
        return {"latency": latency(arch)}


@cache
def latency(arch: Arch) -> float:
    """Return the median seconds of one run of the network on one image: onnxruntime, fp32, one CPU thread.

    It is the thread's processor time, which other processes on the machine disturb little. Measured once per process.
    """
    network = lower(arch)
    weights = layer_weights(network, fold(build(arch).eval()))
    session = create_session(to_onnx_graph(network, weights).SerializeToString())
    return median_seconds(partial(session.run, None, {network.inputs[0].name: example_input(arch).numpy()}))


def median_seconds(run: Callable[[], object]) -> float:
    """Return the median processor time of one run, in seconds; torch uses one thread meanwhile."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for _ in range(_WARM_UP):
                run()
            seconds: list[float] = []
            while len(seconds) < _MIN_RUNS or sum(seconds) < _MIN_SECONDS:
                start = time.thread_time()
                run()
                seconds.append(time.thread_time() - start)
    finally:
        torch.set_num_threads(threads)
    return median(seconds)
