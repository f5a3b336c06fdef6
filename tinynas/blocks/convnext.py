"""Blocks like ConvNeXt's, with batch norm: a depthwise convolution with a large kernel, then a wide hidden layer."""

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


@block("convnext")
@dataclass(frozen=True, kw_only=True)
class ConvNext(Block):
    """A linear depthwise convolution, a 1x1 convolution to `mid` channels with the only activation, and one to `out`.

    ConvNeXt (Liu et al., 2022, section 2) with batch norm, which is folded, in place of layer norm, the last norm in
    place of layer scale, and a stride in the depthwise convolution in place of downsampling layers.

    Attributes:
        out: Output channels.
        kernel: Kernel size of the depthwise convolution in pixels, a number or a pair; odd.
        stride: Stride of the depthwise convolution in pixels.
        mid: Channels of the hidden layer.
        act: Activation; "relu", "relu6" or "hswish".
        residual: Whether an identity shortcut adds the input to the output.
    """

    options: ClassVar = (
        WidthOption("out", "width"),
        RatioOption("mid", "expand"),
        SizeOption("kernel", "kernel"),
        NamedOption("act", "act", default=("relu6",)),
    )

    out: int
    kernel: Size
    mid: int
    stride: Size = 1
    act: str = "relu6"
    residual: bool = False

    def __post_init__(self) -> None:
        check_conv(self.kernel, self.stride, self.act)
        check_channels("out", self.out)
        check_channels("mid", self.mid)
        check_flag("residual", self.residual)

    def lower(self, lowering: Lowering, x: TensorSpec, name: str) -> TensorSpec:
        """Append the block's operators."""
        y = lowering.depthwise_norm(x, f"{name}.depthwise", kernel=self.kernel, stride=self.stride)
        y = lowering.conv_norm(y, f"{name}.expand", self.mid, act=self.act)
        y = lowering.conv_norm(y, f"{name}.project", self.out)
        return lowering.sum(y, x, f"{name}.add") if self.residual else y

    def module(self, channels: int) -> Any:
        """Return the layers, with the shortcut of a residual block."""
        from torch import nn

        from ..models.layers import Chain, ConvNorm

        return Chain(
            depthwise=ConvNorm(channels, channels, self.kernel, self.stride, groups=channels),
            expand=ConvNorm(channels, self.mid, act=self.act),
            project=ConvNorm(self.mid, self.out),
            shortcut=nn.Identity() if self.residual else None,
        )

    def channel_groups(self, name: str, inputs: ChannelGroup, outputs: ChannelGroup) -> Iterator[ChannelGroup]:
        """Add the block's tensors to the groups; yield that of the hidden layer's channels."""
        inputs.written_by(f"{name}.depthwise").read_by(f"{name}.expand.conv")
        outputs.written_by(f"{name}.project")
        yield ChannelGroup().written_by(f"{name}.expand").read_by(f"{name}.project.conv")
