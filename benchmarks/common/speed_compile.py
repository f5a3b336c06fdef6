"""The part `torch.compile` of speed.py: the plain step compiled by PyTorch, beside eager PyTorch and the kernels."""

import os
import time
from collections.abc import Iterator
from functools import partial
from tempfile import TemporaryDirectory

import torch
from torch import nn

from tinynas.data.base import Batch

from .speed_steps import plain_step, searched_network
from .step_runs import ROUNDS, PlainSteps, Step, SupernetSteps, make_batch
from .timing import Run, ratios, summary, time_rounds

WARM_UP = 3  # steps after which nothing is compiled any more


def measure_compile() -> Iterator[dict]:
    """Time a plain step whose network is compiled for its shapes; it is channels-last, as `build` returns it."""
    step = plain_step("micro-v1", searched_network(300_000), batch=128)
    batch = make_batch(step, step.batch, step.side)
    fused, eager = SupernetSteps(step, "fused"), PlainSteps(step, SupernetSteps(step, "eager").networks(0))
    compiled, compilation = compile_step(step, fused.networks(0)[0], batch)
    times = time_rounds(compile_rounds(fused, compiled, eager, batch))
    yield summary(f"{step.title}: torch.compile / plain PyTorch network", ratios(times, 1, 2), aim="")
    yield summary(f"{step.title}: fused kernels / torch.compile", ratios(times, 0, 1), aim="")
    yield summary("compilation of that step by torch.compile, seconds", [compilation], aim="")


def compile_step(step: Step, network: nn.Module, batch: Batch) -> tuple[PlainSteps, float]:
    """Return steps of a compiled network, and the seconds of the first ones, in which it is compiled from scratch."""
    steps = PlainSteps(step, [torch.compile(network)])
    cache = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    start = time.perf_counter()
    with TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        for _ in range(WARM_UP):
            steps.run(batch)
    os.environ.pop("TORCHINDUCTOR_CACHE_DIR")
    if cache is not None:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
    return steps, time.perf_counter() - start


def compile_rounds(fused: SupernetSteps, compiled: PlainSteps, eager: PlainSteps, batch: Batch) -> Iterator[list[Run]]:
    """Yield steps by the fused kernels, of a compiled network, and of a plain one."""
    for number in range(ROUNDS + 1):
        yield [partial(fused.run, batch, number), partial(compiled.run, batch), partial(eager.run, batch)]
