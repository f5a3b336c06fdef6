"""The middle network of a space, scaled by hand to a budget of MACs."""

from dataclasses import replace
from typing import Any

from tinynas import Arch, SearchSpace, cost, load_space
from tinynas.arch.blocks import Block


def scaled_to(budget: int, space: str) -> Arch:
    """Return the widest scaling of a space's middle network within a budget of MACs, in steps of 0.01."""
    network = middle(load_space(space))
    for percent in range(400, 4, -1):
        arch = scaled(network, percent / 100)
        if cost(arch).macs <= budget:
            return arch
    raise ValueError(f"no scaling of the middle network of {space} fits {budget} MACs; raise the budget")


def middle(space: SearchSpace) -> Arch:
    """Return the network with every choice at its middle option, the lower one of two."""
    return space.decode({name: (count - 1) // 2 for name, count in space.genes().items()})


def scaled(arch: Arch, width: float, divisor: int = 4) -> Arch:
    """Return the network with all channels times `width`, in multiples of the divisor."""
    channels = _scaled_channels(arch.stem.out, width, divisor)
    stem = replace(arch.stem, out=channels)
    stages = []
    for stage in arch.stages:
        blocks = []
        for block in stage:
            blocks.append(_scaled_block(block, channels, width, divisor))
            channels = blocks[-1].out
        stages.append(tuple(blocks))
    return replace(arch, stem=stem, stages=tuple(stages))


def _scaled_block(block: Any, channels: int, width: float, divisor: int) -> Block:
    """Return a block for input of so many channels; with a residual connection, it has as many at its output."""
    is_residual = getattr(block, "residual", False)
    sizes = {"out": channels if is_residual else _scaled_channels(block.out, width, divisor)}
    if hasattr(block, "mid"):
        sizes["mid"] = _scaled_channels(block.mid, width, divisor)
    return replace(block, **sizes)


def _scaled_channels(channels: int, width: float, divisor: int) -> int:
    if not channels:
        return 0
    return max(divisor, int(channels * width / divisor + 0.5) * divisor)
