"""Fused inverted residuals: a dense convolution in place of expansion and depthwise convolution."""

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


@block("fused-mbconv")
@dataclass(frozen=True, kw_only=True)
class FusedInvertedResidual(Block):
    """A dense convolution to `mid` channels, a linear 1x1 projection (EfficientNetV2, Tan and Le, 2021, section 3.2).

    Without `mid`, the dense convolution goes to `out` channels, and there is no projection.

    Attributes:
        out: Output channels.
        kernel: Kernel size of the dense convolution in pixels, a number or a pair; odd.
        stride: Stride of the dense convolution in pixels.
        mid: Expanded channels; 0 for no expansion.
        act: Activation; "relu", "relu6" or "hswish".
        residual: Whether an identity shortcut adds the input to the output.
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
        channels = self.mid or self.out
        y = lowering.conv_norm(x, f"{name}.fused", channels, kernel=self.kernel, stride=self.stride, act=self.act)
        if self.mid:
            y = lowering.conv_norm(y, f"{name}.project", self.out)
        return lowering.sum(y, x, f"{name}.add") if self.residual else y

    def module(self, channels: int) -> Any:
        """Return the layers, with the shortcut of a residual block."""
        from torch import nn

        from ..models.layers import Chain, ConvNorm

        return Chain(
            fused=ConvNorm(channels, self.mid or self.out, self.kernel, self.stride, act=self.act),
            project=ConvNorm(self.mid, self.out) if self.mid else None,
            shortcut=nn.Identity() if self.residual else None,
        )

    def channel_groups(self, name: str, inputs: ChannelGroup, outputs: ChannelGroup) -> Iterator[ChannelGroup]:
        """Add the block's tensors to the groups; yield that of the expanded channels."""
        inputs.read_by(f"{name}.fused.conv")
        if self.mid:
            outputs.written_by(f"{name}.project")
            yield ChannelGroup().written_by(f"{name}.fused").read_by(f"{name}.project.conv")
        else:
            outputs.written_by(f"{name}.fused")
