"""Scaling by hand: the middle network of a search space, as wide as a budget allows."""

from dataclasses import replace
from typing import Any

from ..utils.errors import BudgetError
from .arch import Arch
from .blocks import Block
from .budget import Budget
from .cost import cost
from .space import SearchSpace

_WIDEST, _NARROWEST = 400, 5  # percent of the middle network's channels


def scale_to(space: SearchSpace, budget: Budget) -> Arch:
    """Return the network that is found without a search: the middle one of a space, scaled to a budget.

    Every choice of the space is at its middle option, the lower one of two; all channels are then multiplied by the
    largest factor within the budget, in steps of 0.01, and rounded to multiples of the space's divisor (the width
    multiplier of MobileNets, Howard et al., 2017, section 3.3).

    Args:
        space: The search space.
        budget: Limits of the network.

    Returns:
        The network; its channels need not be options of the space.

    Raises:
        BudgetError: No scaling keeps the limits.

    Example:
        >>> from tinynas import Budget, cost, load_space
        >>> cost(scale_to(load_space("micro"), Budget(macs=100_000))).macs
        97456
    """
    network = _middle(space)
    for percent in range(_WIDEST, _NARROWEST - 1, -1):
        arch = scaled(network, percent / 100, divisor=space.divisor)
        if budget.fits(cost(arch)):
            return arch
    raise BudgetError(f"no scaling of the space's middle network keeps {budget.describe()}; raise the limits")


def scaled(arch: Arch, width: float, *, divisor: int) -> Arch:
    """Return a network with all channels times `width`, rounded to multiples of the divisor, at least one of them."""
    channels = _multiple(arch.stem.out * width, divisor)
    stem = replace(arch.stem, out=channels)
    stages = []
    for stage in arch.stages:
        blocks = []
        for block in stage:
            blocks.append(_scaled_block(block, channels, width, divisor))
            channels = blocks[-1].out
        stages.append(tuple(blocks))
    return replace(arch, stem=stem, stages=tuple(stages))


def _middle(space: SearchSpace) -> Arch:
    return space.decode({name: (count - 1) // 2 for name, count in space.genes().items()})


def _scaled_block(block: Any, channels: int, width: float, divisor: int) -> Block:
    """Return a block for input of so many channels; one with a residual connection has as many at its output."""
    is_residual = getattr(block, "residual", False)
    sizes = {"out": channels if is_residual else _multiple(block.out * width, divisor)}
    if getattr(block, "mid", 0):
        sizes["mid"] = _multiple(block.mid * width, divisor)
    scaled_block: Block = replace(block, **sizes)
    return scaled_block


def _multiple(channels: float, divisor: int) -> int:
    return max(divisor, int(channels / divisor + 0.5) * divisor)
