"""Scaling by hand: a network as wide as a budget allows."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..utils.errors import BudgetError
from .arch import Arch
from .blocks import Block
from .budget import Budget
from .cost import cost

_WIDEST, _NARROWEST = 400, 1  # percent of the network's channels


def scale_to(arch: Arch, budget: Budget, *, divisor: int = 4) -> Arch:
    """Return a network scaled to a budget by a width multiplier, as without a search (MobileNets, section 3.3).

    Args:
        arch: The network that is scaled.
        budget: Limits of the scaled network.
        divisor: Its channels are multiples of it.

    Returns:
        The network with all channels times the largest factor within the budget, in steps of 0.01.

    Raises:
        BudgetError: No factor from 0.01 to 4 keeps the limits.

    Example:
        >>> from dataclasses import replace
        >>> from tinynas import Budget, cost, load_arch
        >>> small = scale_to(replace(load_arch("mobilenet-v2-tiny"), resolution=96), Budget(macs=5_000_000))
        >>> small.stem.out, cost(small).macs
        (12, 4967348)
    """
    for percent in range(_WIDEST, _NARROWEST - 1, -1):
        network = scaled(arch, percent / 100, divisor=divisor)
        if budget.fits(cost(network)):
            return network
    raise BudgetError(f"no scaling of the network keeps {budget.describe()}; raise the limits, or lower its resolution")


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
    head: Any = arch.head
    head = replace(head, **_sizes(head, ("conv", "hidden", "width"), width, divisor))
    return replace(arch, stem=stem, stages=tuple(stages), head=head)


def _scaled_block(block: Any, channels: int, width: float, divisor: int) -> Block:
    """Return a block for input of so many channels; one with a residual connection has as many at its output."""
    sizes = _sizes(block, ("out", "mid"), width, divisor)
    if getattr(block, "residual", False):
        sizes["out"] = channels
    scaled_block: Block = replace(block, **sizes)
    return scaled_block


def _sizes(part: Any, names: Sequence[str], width: float, divisor: int) -> dict[str, int]:
    """Return the channels of a block or head by name, times `width`, as far as it has them."""
    sizes = {}
    for name in names:
        channels = getattr(part, name, 0)
        if channels:
            sizes[name] = _multiple(channels * width, divisor)
    return sizes


def _multiple(channels: float, divisor: int) -> int:
    return max(divisor, int(channels / divisor + 0.5) * divisor)
