"""Checks of the fields of blocks and heads."""

from collections.abc import Sequence

from ..utils.errors import InputError, require, unknown
from ..utils.sizes import Size, check_size, pair, with_lists

ACTIVATIONS = ("relu", "relu6", "hswish")


def check_conv(kernel: Size, stride: Size, act: str) -> None:
    """Check the fields of a convolution.

    Raises:
        InputError: The kernel size is even, or the stride is not positive, or the activation is unknown.
    """
    check_size("kernel", kernel)
    if any(side % 2 == 0 for side in pair(kernel)):
        raise InputError(f"kernel must be an odd whole number or a pair of them, but is {with_lists(kernel)}")
    check_size("stride", stride)
    check_activation(act)


def check_activation(name: str, known: Sequence[str] = ACTIVATIONS) -> None:
    """Raise InputError if the name is not one of the known ones."""
    if name not in known:
        raise unknown("activation in act", name, known)


def check_channels(name: str, channels: int, *, may_be_none: bool = False) -> None:
    """Raise InputError unless channels of a block are a positive whole number or, if there may be none, 0."""
    least = 0 if may_be_none else 1
    require(is_count(channels) and channels >= least, f"block.{name} >= {least}", **{name: channels})


def check_flag(name: str, value: object) -> None:
    """Raise InputError unless the value is true or false."""
    if not isinstance(value, bool):
        raise InputError(f"{name} must be true or false, but is {value!r}")


def is_count(value: object) -> bool:
    """Return whether the value is a whole number of at least 0."""
    return type(value) is int and value >= 0
