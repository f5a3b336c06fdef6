"""The part `roofline` of speed.py: a training step beside the machine's arithmetic and memory, in the same rounds."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from tinynas import Arch, build, cost
from tinynas.models.network import example_input

from .speed_steps import plain_step, searched_network
from .step_runs import ROUNDS, PlainSteps, SupernetSteps, make_batch
from .timing import Run, summary, time_rounds

GOAL = ">= 0.4"
BYTES = 4  # of a float
LARGE = 1024  # rows and columns of a large GEMM
BLOCK = 4096  # pixels of a product, which stay in the caches
MAP_PASSES = 6  # over each convolution's map, see `measure_roofline`
STEP_MACS = 3  # over those of a forward pass: the outputs, the gradients of weights, and those of inputs


@dataclass(frozen=True)
class Gemm:
    """The product of a 1x1 convolution, computed block of pixels by block, in the same memory.

    Attributes:
        inputs: (pixels of a block, input channels).
        weights: (input channels, output channels).
        outputs: (pixels of a block, output channels), written by `run`.
        blocks: How many there are.
    """

    inputs: Tensor
    weights: Tensor
    outputs: Tensor
    blocks: int = 1

    @classmethod
    def of_size(cls, pixels: int, in_channels: int, out_channels: int, blocks: int = 1) -> "Gemm":
        """Return a product of noise."""
        inputs, weights = torch.randn(pixels, in_channels), torch.randn(in_channels, out_channels)
        return cls(inputs, weights, torch.empty(pixels, out_channels), blocks)

    @property
    def flops(self) -> float:
        """Floating-point operations of the product."""
        return 2.0 * self.blocks * self.inputs.numel() * self.weights.shape[1]

    def run(self) -> None:
        """Compute the product."""
        for _ in range(self.blocks):
            torch.mm(self.inputs, self.weights, out=self.outputs)


@dataclass(frozen=True)
class Work:
    """What a training step has to do at least.

    Attributes:
        flops: Floating-point operations, a multiply-accumulate counted as two.
        map_bytes: Size of the maps that its convolutions write in a forward pass.
        gemms: The products of its 1x1 convolutions in a forward pass.
    """

    flops: float
    map_bytes: int
    gemms: list[Gemm]


def measure_roofline() -> Iterator[dict]:
    """Time a plain step and yield the share of its time that the machine needs at least.

    That least time is the larger one of two, as arithmetic and memory traffic can overlap.

    Arithmetic: three times the MACs of a forward pass (outputs, gradients of weights, gradients of inputs), two
    operations each, without the gradient of the images; at the rate of a large GEMM. PyTorch's GEMMs of the network's
    1x1 convolutions are timed as well: with few channels they are far from that rate.

    Memory: what every convolution writes is passed over six times. In the forward pass it is written, and read by the
    next layer, which applies norm and activation as it reads. In the backward pass it is read twice, since batch norm
    applies sums over the whole batch, and its gradient is written and read. Weights are not counted. At the rate of a
    copy of as many bytes as all convolutions of the network write in a forward pass; a copy reads and writes each byte.
    """
    step = plain_step("micro-v1", searched_network(300_000), batch=128)
    batch = make_batch(step, step.batch, step.side)
    work = least_work(step.objective.target, step.batch)
    large = Gemm.of_size(LARGE, LARGE, LARGE)
    source, copied = torch.ones(2, work.map_bytes // BYTES)
    fused = SupernetSteps(step, "fused")
    eager = PlainSteps(step, fused.networks(0))
    runs: list[Run] = [
        partial(fused.run, batch, 0),
        partial(eager.run, batch),
        partial(run_all, work.gemms),
        large.run,
        partial(copied.copy_, source),
    ]
    yield from rows(step.title, work, large, time_rounds([runs] * (ROUNDS + 1)))


def rows(title: str, work: Work, large: Gemm, times: list[list[float]]) -> Iterator[dict]:
    """Yield the rows of a step's work, from the seconds of each round: fused, eager, GEMMs, large GEMM, copy."""
    gemm_rates, large_rates, copy_rates, least_times, fused_shares, eager_shares = [], [], [], [], [], []
    for fused, eager, gemms, large_time, copy in times:
        gemm_rates.append(sum(gemm.flops for gemm in work.gemms) / gemms)
        large_rates.append(large.flops / large_time)
        copy_rates.append(2 * work.map_bytes / copy)
        least = max(work.flops / large_rates[-1], MAP_PASSES * work.map_bytes / copy_rates[-1])
        least_times.append(least)
        fused_shares.append(least / fused)
        eager_shares.append(least / eager)
    size = f"{work.map_bytes / 1e6:.0f} MB"
    yield summary(f"GEMM, {LARGE} x {LARGE} x {LARGE}: GFLOP/s", scaled(large_rates, 1e-9), aim="")
    yield summary("PyTorch's GEMMs of that network's 1x1 convolutions: GFLOP/s", scaled(gemm_rates, 1e-9), aim="")
    yield summary(f"copy of {size}, as large as its maps: GB/s, read and written", scaled(copy_rates, 1e-9), aim="")
    yield summary(f"{title}: least time, ms", scaled(least_times, 1e3), aim="")
    yield summary(f"{title}: least time / fused kernels", fused_shares, aim=GOAL)
    yield summary(f"{title}: least time / plain PyTorch network", eager_shares, aim="")


def scaled(values: list[float], factor: float) -> list[float]:
    """Return values in another unit."""
    return [value * factor for value in values]


def run_all(gemms: list[Gemm]) -> None:
    """Compute all products."""
    for gemm in gemms:
        gemm.run()


def least_work(arch: Arch, batch: int) -> Work:
    """Count what a training step of a network has to do; see `measure_roofline`."""
    maps: list[tuple[nn.Conv2d, Tensor]] = []  # the convolutions, and what they write for an image

    def collect(conv: nn.Module, inputs: object, outputs: Tensor) -> None:
        assert isinstance(conv, nn.Conv2d)
        maps.append((conv, outputs))

    network = build(arch).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(collect)
    with torch.no_grad():
        network(example_input(arch))
    gemms = []
    for conv, outputs in maps:
        if conv.kernel_size == (1, 1):
            pixels = batch * outputs[0, 0].numel()
            size = min(BLOCK, pixels)
            gemms.append(Gemm.of_size(size, conv.in_channels, conv.out_channels, pixels // size))
    stem, stem_outputs = maps[0]
    stem_macs = stem_outputs.numel() * stem.weight[0].numel()
    return Work(
        flops=2.0 * batch * (STEP_MACS * cost(arch).macs - stem_macs),
        map_bytes=BYTES * batch * sum(outputs.numel() for _, outputs in maps),
        gemms=gemms,
    )
