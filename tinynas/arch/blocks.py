"""The stem and the blocks of an architecture: their fields, checks and layers. A size of 0 means no such layer."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..utils.errors import InputError, require, unknown
from .layer_cost import LayerCost, conv_cost, depthwise_cost, linear_cost, output_size, weightless_cost

ACTIVATIONS = ("relu", "relu6", "hswish")


@dataclass(frozen=True, kw_only=True)
class Stem:
    """The first convolution, with batch norm.

    Attributes:
        out: Output channels.
        kernel: Kernel size in pixels; odd.
        stride: Stride in pixels.
        act: Activation; "relu", "relu6" or "hswish".
    """

    out: int
    kernel: int = 3
    stride: int = 2
    act: str = "relu6"

    def __post_init__(self) -> None:
        check_conv(self.kernel, self.stride, self.act)
        require(is_count(self.out) and self.out > 0, "stem.out > 0", out=self.out)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A depthwise-separable or inverted-residual block (MobileNetV2, Sandler et al., 2018, section 3.3).

    1x1 expansion to `mid` channels, depthwise convolution, squeeze-excite through `se` channels, linear 1x1 projection
    to `out` channels. Without expansion the depthwise convolution runs on the block's input.

    Attributes:
        out: Output channels.
        kernel: Kernel size of the depthwise convolution in pixels; odd.
        stride: Stride of the depthwise convolution in pixels.
        mid: Expanded channels; 0 for no expansion.
        se: Channels of the squeeze layer; 0 for no squeeze-excite.
        act: Activation; "relu", "relu6" or "hswish".
        residual: Whether an identity shortcut adds the input to the output.
    """

    out: int
    kernel: int
    stride: int = 1
    mid: int = 0
    se: int = 0
    act: str = "relu6"
    residual: bool = False

    def __post_init__(self) -> None:
        check_conv(self.kernel, self.stride, self.act)
        require(is_count(self.out) and self.out > 0, "block.out > 0", out=self.out)
        require(is_count(self.mid), "block.mid >= 0", mid=self.mid)
        require(is_count(self.se), "block.se >= 0", se=self.se)
        if not isinstance(self.residual, bool):
            raise InputError(f"residual must be true or false, but is {self.residual!r}")

    def layer_costs(self, name: str, channels: int, size: int, *, keep_input: bool = False) -> Iterator[LayerCost]:
        """Yield the costs of the block's layers for an input (channels, size, size).

        The input is kept in memory until the addition of a residual block; with `keep_input`, until after the block.
        """
        mid, out_size = self.mid or channels, output_size(size, self.stride)
        kept = channels * size**2 if self.residual or keep_input else 0
        if self.mid:  # reads the input, which is thus counted already
            yield conv_cost(f"{name}.expand", in_channels=channels, out_channels=mid, size=size)
        yield depthwise_cost(
            f"{name}.depthwise",
            channels=mid,
            size=size,
            kernel=self.kernel,
            stride=self.stride,
            shortcut=kept,
            reads_shortcut=not self.mid,
        )
        if self.se:
            yield from self._squeeze_excite_costs(f"{name}.se", mid, out_size, held=kept)
        yield conv_cost(f"{name}.project", in_channels=mid, out_channels=self.out, size=out_size, held=kept)
        if self.residual:
            yield weightless_cost(f"{name}.add", kept + self.out * out_size**2)

    def _squeeze_excite_costs(self, name: str, channels: int, size: int, held: int) -> Iterator[LayerCost]:
        """Yield the costs of squeeze-excite's layers for an input (channels, size, size)."""
        alive = channels * size**2 + held
        yield weightless_cost(f"{name}.pool", alive + channels)
        yield linear_cost(f"{name}.reduce", in_features=channels, out_features=self.se, held=alive)
        yield linear_cost(f"{name}.expand", in_features=self.se, out_features=channels, held=alive)
        yield weightless_cost(f"{name}.scale", alive + channels)


def check_conv(kernel: int, stride: int, act: str) -> None:
    """Check the fields of a convolution.

    Raises:
        InputError: The kernel size is even, or the stride is not positive, or the activation is unknown.
    """
    if not is_count(kernel) or kernel % 2 == 0:
        raise InputError(f"kernel must be an odd whole number, but is {kernel!r}")
    require(is_count(stride) and stride > 0, "stride > 0", stride=stride)
    check_activation(act)


def check_activation(name: str) -> None:
    """Raise InputError if the name is not one of ACTIVATIONS."""
    if name not in ACTIVATIONS:
        raise unknown("activation", name, ACTIVATIONS)


def is_count(value: object) -> bool:
    """Return whether the value is a whole number of at least 0."""
    return type(value) is int and value >= 0
