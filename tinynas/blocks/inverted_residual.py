"""Inverted residuals and depthwise-separable blocks with a linear projection, the default kind of block."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from ..arch.block_kinds import block
from ..arch.blocks import Block
from ..arch.channels import ChannelGroup
from ..arch.checks import check_channels, check_conv, check_flag
from ..arch.lowering_steps import Lowering
from ..arch.operators import TensorSpec
from ..arch.options import NamedOption, RatioOption, ReductionOption, SizeOption, WidthOption
from ..utils.sizes import Size


@block("inverted-residual")
@dataclass(frozen=True, kw_only=True)
class InvertedResidual(Block):
    """A depthwise-separable or inverted-residual block (MobileNetV2, Sandler et al., 2018, section 3.3).

    1x1 expansion to `mid` channels, depthwise convolution, squeeze-excite through `se` channels, linear 1x1 projection
    to `out` channels. Without expansion the depthwise convolution runs on the block's input.

    Attributes:
        out: Output channels.
        kernel: Kernel size of the depthwise convolution in pixels, a number or a pair; odd.
        stride: Stride of the depthwise convolution in pixels.
        mid: Expanded channels; 0 for no expansion.
        se: Channels of the squeeze layer; 0 for no squeeze-excite.
        act: Activation; "relu", "relu6" or "hswish".
        residual: Whether an identity shortcut adds the input to the output.
    """

    options: ClassVar = (
        WidthOption("out", "width"),
        RatioOption("mid", "expand", default=()),
        SizeOption("kernel", "kernel"),
        ReductionOption("se", "se", default=(0,), of="mid"),
        NamedOption("act", "act", default=("relu6",)),
    )

    out: int
    kernel: Size
    stride: Size = 1
    mid: int = 0
    se: int = 0
    act: str = "relu6"
    residual: bool = False

    def __post_init__(self) -> None:
        check_conv(self.kernel, self.stride, self.act)
        check_channels("out", self.out)
        check_channels("mid", self.mid, may_be_none=True)
        check_channels("se", self.se, may_be_none=True)
        check_flag("residual", self.residual)

    def lower(self, lowering: Lowering, x: TensorSpec, name: str) -> TensorSpec:
        """Append the block's operators."""
        y, act = x, self.act
        if self.mid:
            y = lowering.conv_norm(y, f"{name}.expand", self.mid, act=act)
        y = lowering.depthwise_norm(y, f"{name}.depthwise", kernel=self.kernel, stride=self.stride, act=act)
        if self.se:
            y = lowering.squeeze_excite(y, f"{name}.se", self.se)
        y = lowering.conv_norm(y, f"{name}.project", self.out)
        return lowering.sum(y, x, f"{name}.add") if self.residual else y

    def module(self, channels: int) -> Any:
        """Return the layers, with the shortcut of a residual block."""
        from torch import nn

        from ..models.layers import Chain, ConvNorm, SqueezeExcite

        mid, act = self.mid or channels, self.act
        return Chain(
            expand=ConvNorm(channels, mid, act=act) if self.mid else None,
            depthwise=ConvNorm(mid, mid, self.kernel, self.stride, groups=mid, act=act),
            se=SqueezeExcite(mid, self.se) if self.se else None,
            project=ConvNorm(mid, self.out),
            shortcut=nn.Identity() if self.residual else None,
        )

    def channel_groups(self, name: str, inputs: ChannelGroup, outputs: ChannelGroup) -> Iterator[ChannelGroup]:
        """Add the block's tensors to the groups; yield those of the expanded and of the squeezed channels."""
        inner = inputs
        if self.mid:
            inputs.read_by(f"{name}.expand.conv")
            inner = ChannelGroup().written_by(f"{name}.expand")
        inner.written_by(f"{name}.depthwise").read_by(f"{name}.project.conv")
        outputs.written_by(f"{name}.project")
        if self.se:
            inner.read_by(f"{name}.se.reduce").written_with_bias_by(f"{name}.se.expand")
            yield ChannelGroup().written_with_bias_by(f"{name}.se.reduce").read_by(f"{name}.se.expand")
        if self.mid:
            yield inner
