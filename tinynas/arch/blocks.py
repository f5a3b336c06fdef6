"""Blocks: what every kind of block says about itself, and the stem. A size of 0 means no such layer."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from ..utils.errors import InputError, require
from ..utils.sizes import Size
from .channels import ChannelGroup
from .checks import check_conv, is_count
from .lowering_steps import Lowering
from .operators import TensorSpec
from .options import Option


@dataclass(frozen=True, kw_only=True)
class Stem:
    """The first convolution, with batch norm.

    Attributes:
        out: Output channels.
        kernel: Kernel size in pixels, a number or a pair of height and width; odd.
        stride: Stride in pixels, a number or a pair.
        act: Activation; "relu", "relu6" or "hswish".
    """

    out: int
    kernel: Size = 3
    stride: Size = 2
    act: str = "relu6"

    def __post_init__(self) -> None:
        check_conv(self.kernel, self.stride, self.act)
        require(is_count(self.out) and self.out > 0, "stem.out > 0", out=self.out)

    def lower(self, lowering: Lowering, image: TensorSpec) -> TensorSpec:
        """Append the stem's operators for an image, and return what they write."""
        return lowering.conv_norm(image, "stem", self.out, kernel=self.kernel, stride=self.stride, act=self.act)


class Block(ABC):
    """A kind of block: the fields of its blocks, their options in a space, their operators and their module.

    A subclass is a frozen dataclass with keyword-only fields that are whole numbers, texts or truth values, and is
    registered by `tinynas.block("its-name")`. Blocks read and write feature maps (N, channels, H, W).

    A subclass must have the field `out`. It has the fields `stride` and `residual` where blocks differ in them.

    Attributes:
        kind: Name of the kind, as `kind: name` in YAML files; set when it is registered.
        options: The fields that a search space chooses, in the order in which they are decided.
        out: Output channels.
        stride: Stride in pixels, a number or a pair of a vertical and a horizontal one: a map of H rows becomes one of
            H / stride, rounded up.
        residual: Whether the output is a sum with the input, so that both have the same channels. A space sets the
            field for blocks whose channels it does not choose.

    Example:
        A convolution with batch norm, whose kernel size and output channels a space chooses:

        >>> from dataclasses import dataclass
        >>> import tinynas
        >>> from tinynas.arch.options import Option, WidthOption
        >>> from tinynas.models.layers import ConvNorm
        >>> @tinynas.block("plain-conv")
        ... @dataclass(frozen=True, kw_only=True)
        ... class PlainConv(tinynas.Block):
        ...     options = (WidthOption("out", "width"), Option("kernel", "kernel"))
        ...     out: int
        ...     kernel: int
        ...     stride: int = 1
        ...     def lower(self, lowering, x, name):
        ...         return lowering.conv_norm(x, name, self.out, kernel=self.kernel, stride=self.stride)
        ...     def module(self, channels):
        ...         return ConvNorm(channels, self.out, self.kernel, self.stride)
        ...     def channel_groups(self, name, inputs, outputs):
        ...         inputs.read_by(f"{name}.conv")
        ...         outputs.written_by(name)
        ...         return iter(())
        >>> stage = {"kind": "plain-conv", "width": [4, 8], "kernel": [3, 5], "depth": [1, 2]}
        >>> space = tinynas.SearchSpace.from_dict({"resolution": 8, "stem": {"width": 4}, "stages": [stage]})
        >>> space.max().stages[0][1]
        PlainConv(out=8, kernel=5, stride=1)
    """

    kind: ClassVar[str]
    options: ClassVar[tuple[Option, ...]]

    out: int
    stride: Size = 1
    residual: bool = False

    def check(self, channels: int) -> None:
        """Check that the block can read a map of so many channels.

        Args:
            channels: Channels of the map.

        Raises:
            InputError: It is residual, but has a stride or changes the channels.
        """
        if self.residual and (self.stride != 1 or self.out != channels):
            raise InputError(
                "a residual block has stride 1 and keeps its channels, "
                f"but this one has stride {self.stride}, {channels} input and {self.out} output channels"
            )

    @abstractmethod
    def lower(self, lowering: Lowering, x: TensorSpec, name: str) -> TensorSpec:
        """Append the block's operators, from which its cost is counted and files for targets are written.

        Args:
            lowering: Takes the operators.
            x: The map that the block reads, (1, H, W, channels).
            name: The block's name in the network, with which those of its operators begin; operators with weights are
                called like their layer in `module`.

        Returns:
            The map that the last operator writes.
        """

    @abstractmethod
    def module(self, channels: int) -> Any:
        """Build the block's layers.

        A smaller block's tensors must be the leading channels, and the centre of the kernels, of a larger block's.

        Args:
            channels: Channels of the input.

        Returns:
            A torch.nn.Module, (N, channels, H, W) -> (N, out, H / stride, W / stride), rounded up.
        """

    @abstractmethod
    def channel_groups(self, name: str, inputs: ChannelGroup, outputs: ChannelGroup) -> Iterator[ChannelGroup]:
        """Add the block's tensors to the groups of its input's and its output's channels.

        Args:
            name: The block's name in the network.
            inputs: Channels of the input, to which the layers that read them are added.
            outputs: Channels of the output, to which the layers that write them are added; for a residual block, the
                same group.

        Yields:
            Groups of channels within the block.
        """
