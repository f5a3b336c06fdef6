"""Scaling by hand: a network as wide as a budget allows."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..utils.errors import BudgetError, InputError
from .arch import Arch
from .blocks import Block
from .budget import Budget
from .cost import cost, describe
from .cost_names import cost_word


def scale_to(arch: Arch, budget: Budget, *, divisor: int = 4) -> Arch:
    """Return a network scaled to a budget by a width multiplier, as without a search (MobileNets, section 3.3).

    Args:
        arch: The network that is scaled.
        budget: Limits of the scaled network, one at least.
        divisor: Its channels are multiples of it.

    Returns:
        The network with all channels times the largest factor within the budget, in steps of 0.01.

    Raises:
        InputError: There are no limits, or one is of a cost that is measured, such as latency.
        BudgetError: No factor keeps the limits.

    Example:
        >>> from dataclasses import replace
        >>> from tinynas import Budget, cost, load_arch, scale_to
        >>> small = scale_to(replace(load_arch("mobilenet-v2-tiny"), resolution=96), Budget(macs=5_000_000))
        >>> small.stem.out, cost(small).macs
        (12, 4967348)
    """
    return scaled(arch, largest_factor(arch, budget, divisor=divisor), divisor=divisor)


def largest_factor(arch: Arch, budget: Budget, *, divisor: int = 4) -> float:
    """Return the largest width multiplier with which a network is within a budget, in steps of 0.01.

    Arguments and errors are those of `scale_to`. Costs are taken to grow with the channels.
    """
    upper = replace(budget, min_macs=None)
    _check_counted(upper, arch)

    def at(percent: int) -> Arch:
        return scaled(arch, percent / 100, divisor=divisor)

    fits, too_wide = 0, 1  # percent of the channels
    while upper.fits(cost(at(too_wide))):
        fits, too_wide = too_wide, 2 * too_wide
    while too_wide - fits > 1:
        percent = (fits + too_wide) // 2
        if upper.fits(cost(at(percent))):
            fits = percent
        else:
            too_wide = percent
    if not fits:
        needs = _costs_of_limits(at(too_wide), upper)
        raise BudgetError(f"no width multiplier keeps {upper.describe()}, the narrowest has {needs}; raise the limits")
    if not budget.fits(cost(at(fits))):
        raise BudgetError(
            f"no width multiplier leads to {budget.describe()}: {fits / 100:g} gives {cost(at(fits)).macs:,} MACs, the "
            "next one too many; widen the range"
        )
    return fits / 100


def _check_counted(budget: Budget, arch: Arch) -> None:
    """Raise InputError if there are no limits, or one is of a cost that is not counted from an architecture."""
    limits = budget.limits()
    if not limits:
        raise InputError("there is no limit to scale a network to; name one, such as 100K MACs")
    unknown = [cost_word(name) for name in limits if name not in cost(arch).named()]
    if unknown:
        raise InputError(
            f"the limits of {' and '.join(unknown)} are of costs that are measured, not counted; scale to MACs or "
            "parameters, or search"
        )


def _costs_of_limits(arch: Arch, budget: Budget) -> str:
    """Return the costs of a network that are limited: "macs 3,308, sram 1.2KB"."""
    costs = cost(arch).named()
    return ", ".join(f"{cost_word(name)} {describe(name, costs[name])}" for name in budget.limits())


def scaled(arch: Arch, width: float, *, divisor: int = 4) -> Arch:
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
    sizes = _sizes(block, ("out", "mid", "se"), width, divisor)
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
