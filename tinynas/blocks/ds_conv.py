"""Plain depthwise-separable convolutions, as in DS-CNN and MobileNetV1."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from ..arch.block_kinds import block
from ..arch.blocks import Block
from ..arch.channels import ChannelGroup
from ..arch.checks import check_channels, check_conv
from ..arch.lowering_steps import Lowering
from ..arch.operators import TensorSpec
from ..arch.options import NamedOption, SizeOption, WidthOption
from ..utils.sizes import Size


@block("ds-conv")
@dataclass(frozen=True, kw_only=True)
class DepthwiseSeparable(Block):
    """A depthwise and a 1x1 convolution, both with batch norm and activation (DS-CNN, Zhang et al., 2017, section 4.5).

    Attributes:
        out: Output channels.
        kernel: Kernel size of the depthwise convolution in pixels, a number or a pair; odd.
        stride: Stride of the depthwise convolution in pixels.
        act: Activation; "relu", "relu6" or "hswish".
    """

    options: ClassVar = (
        WidthOption("out", "width"),
        SizeOption("kernel", "kernel"),
        NamedOption("act", "act", default=("relu6",)),
    )

    out: int
    kernel: Size
    stride: Size = 1
    act: str = "relu6"

    def __post_init__(self) -> None:
        check_conv(self.kernel, self.stride, self.act)
        check_channels("out", self.out)

    def lower(self, lowering: Lowering, x: TensorSpec, name: str) -> TensorSpec:
        """Append the block's operators."""
        y = lowering.depthwise_norm(x, f"{name}.depthwise", kernel=self.kernel, stride=self.stride, act=self.act)
        return lowering.conv_norm(y, f"{name}.pointwise", self.out, act=self.act)

    def module(self, channels: int) -> Any:
        """Return the two layers."""
        from ..models.layers import Chain, ConvNorm

        return Chain(
            depthwise=ConvNorm(channels, channels, self.kernel, self.stride, groups=channels, act=self.act),
            pointwise=ConvNorm(channels, self.out, act=self.act),
        )

    def channel_groups(self, name: str, inputs: ChannelGroup, outputs: ChannelGroup) -> Iterator[ChannelGroup]:
        """Add the block's tensors to the groups; there are none within the block."""
        inputs.written_by(f"{name}.depthwise").read_by(f"{name}.pointwise.conv")
        outputs.written_by(f"{name}.pointwise")
        return iter(())
