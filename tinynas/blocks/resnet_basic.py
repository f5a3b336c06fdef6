"""The basic block of residual networks: two dense convolutions and a shortcut."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from ..arch.block_kinds import block
from ..arch.blocks import Block
from ..arch.channels import ChannelGroup
from ..arch.checks import check_channels, check_conv, check_flag
from ..arch.lowering_steps import Lowering
from ..arch.operators import TensorSpec
from ..arch.options import NamedOption, RatioOption, SizeOption, WidthOption
from ..utils.sizes import Size


@block("resnet-basic")
@dataclass(frozen=True, kw_only=True)
class BasicBlock(Block):
    """Two dense convolutions with batch norm, whose sum with a shortcut is activated (He et al., 2016, section 4.2).

    Attributes:
        out: Output channels.
        kernel: Kernel size of both convolutions in pixels, a number or a pair; odd.
        stride: Stride of the first convolution in pixels.
        mid: Channels between the convolutions; 0 for as many as `out`.
        act: Activation; "relu", "relu6" or "hswish".
        residual: Whether the shortcut is the identity; else it is a 1x1 convolution with batch norm.
    """

    options: ClassVar = (
        WidthOption("out", "width"),
        RatioOption("mid", "expand", default=()),
        SizeOption("kernel", "kernel"),
        NamedOption("act", "act", default=("relu6",)),
    )

    out: int
    kernel: Size
    stride: Size = 1
    mid: int = 0
    act: str = "relu6"
    residual: bool = False

    def __post_init__(self) -> None:
        check_conv(self.kernel, self.stride, self.act)
        check_channels("out", self.out)
        check_channels("mid", self.mid, may_be_none=True)
        check_flag("residual", self.residual)

    def lower(self, lowering: Lowering, x: TensorSpec, name: str) -> TensorSpec:
        """Append the block's operators."""
        kernel, stride, act = self.kernel, self.stride, self.act
        y = lowering.conv_norm(x, f"{name}.first", self.mid or self.out, kernel=kernel, stride=stride, act=act)
        y = lowering.conv_norm(y, f"{name}.second", self.out, kernel=kernel)
        if not self.residual:
            x = lowering.conv_norm(x, f"{name}.shortcut", self.out, stride=stride)
        return lowering.sum(y, x, f"{name}.add", act=act)

    def module(self, channels: int) -> Any:
        """Return the two convolutions, with the shortcut."""
        from torch import nn

        from ..models.layers import Chain, ConvNorm

        mid = self.mid or self.out
        return Chain(
            first=ConvNorm(channels, mid, self.kernel, self.stride, act=self.act),
            second=ConvNorm(mid, self.out, self.kernel),
            shortcut=nn.Identity() if self.residual else ConvNorm(channels, self.out, stride=self.stride),
            act=self.act,
        )

    def channel_groups(self, name: str, inputs: ChannelGroup, outputs: ChannelGroup) -> Iterator[ChannelGroup]:
        """Add the block's tensors to the groups; yield that of the channels between the convolutions."""
        inputs.read_by(f"{name}.first.conv")
        outputs.written_by(f"{name}.second")
        if not self.residual:
            inputs.read_by(f"{name}.shortcut.conv")
            outputs.written_by(f"{name}.shortcut")
        yield ChannelGroup().written_by(f"{name}.first").read_by(f"{name}.second.conv")
