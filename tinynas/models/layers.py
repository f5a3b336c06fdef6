"""The building blocks of networks: convolutions with batch norm, squeeze-excite, inverted residuals."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..arch.blocks import Block
from ..kernels.program import Map, ProgramBuilder
from ..utils.distributed import shard, world_size
from .batchnorm import BatchNorm
from .channels import ChannelGroup

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "relu6": nn.ReLU6, "hswish": nn.Hardswish}


@contextmanager
def without_initial_values() -> Iterator[None]:
    """Build layers in the body whose parameters have no values yet: in a third of the time."""
    kinds: tuple[Any, ...] = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
    methods = [kind.reset_parameters for kind in kinds]
    try:
        for kind in kinds:
            kind.reset_parameters = lambda layer: None
        yield
    finally:
        for kind, method in zip(kinds, methods, strict=True):
            kind.reset_parameters = method


class PointwiseConv(nn.Conv2d):
    """A 1x1 convolution, which a GPU computes as a matrix product where channels are in front of pixels in memory.

    cuDNN takes up to seconds to choose the kernels of each new shape, and a supernet's random subnets have hundreds.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = False) -> None:
        super().__init__(in_channels, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve: (N, in_channels, H, W) -> (N, out_channels, H, W)."""
        if not x.is_cuda or not x.is_contiguous():
            return super().forward(x)
        y = torch.matmul(self.weight.flatten(1), x.flatten(2)).view(len(x), self.out_channels, *x.shape[2:])
        return y if self.bias is None else y + self.bias.view(-1, 1, 1)


class ConvNorm(nn.Module):
    """Convolution, batch norm and, if named, an activation.

    (N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride), rounded up.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: str = ""
    ) -> None:
        super().__init__()
        if kernel == stride == groups == 1:
            self.conv: nn.Conv2d = PointwiseConv(in_channels, out_channels)
        else:
            self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = BatchNorm(out_channels)
        self.act = ACTIVATIONS[act](inplace=True) if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Run the layers."""
        y: Tensor = self.act(self.norm(self.conv(x)))
        return y

    def emit(self, builder: ProgramBuilder, x: Map) -> Map:
        """Add the layers to a program of the fused kernels."""
        return builder.convolution(x, self.conv, self.norm, self.act)


class ShardedDropout(nn.Dropout):
    """Dropout that drops the same in data-parallel training as in a single process: (N, ...) -> (N, ...).

    Every process draws for the whole batch and takes the part of its shard, so the processes must have seeded torch
    alike. With a single process it is `nn.Dropout`.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Drop values in training, and scale the others."""
        if not self.training or world_size() == 1 or not self.p:
            return super().forward(x)
        batch_size = len(x) * world_size()
        kept = torch.empty(batch_size, *x.shape[1:], dtype=x.dtype, device=x.device).bernoulli_(1 - self.p)
        return x * kept[shard(batch_size)] / (1 - self.p)


class SqueezeExcite(nn.Module):
    """Channel gates from global averages (Hu et al., 2018), hard sigmoid as in MobileNetV3. Keeps the shape."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.reduce = PointwiseConv(channels, squeeze, bias=True)
        self.expand = PointwiseConv(squeeze, channels, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply every channel by its gate."""
        gate = self.expand(self.reduce(x.mean((2, 3), keepdim=True)).relu())  # (N, C, 1, 1)
        return x * nn.functional.hardsigmoid(gate)

    def emit(self, builder: ProgramBuilder, x: Map) -> Map:
        """Add the gates to a program of the fused kernels."""
        return builder.squeeze_excite(x, self.reduce, self.expand)


class InvertedResidual(nn.Module):
    """The module of a `Block`: (N, channels, H, W) -> (N, block.out, H / stride, W / stride), rounded up."""

    def __init__(self, block: Block, channels: int) -> None:
        super().__init__()
        mid = block.mid or channels
        self.expand = ConvNorm(channels, mid, act=block.act) if block.mid else nn.Identity()
        self.depthwise = ConvNorm(mid, mid, block.kernel, block.stride, groups=mid, act=block.act)
        self.se = SqueezeExcite(mid, block.se) if block.se else nn.Identity()
        self.project = ConvNorm(mid, block.out)
        self.residual = block.residual

    def forward(self, x: Tensor) -> Tensor:
        """Run the layers; a residual block adds its input."""
        y: Tensor = self.project(self.se(self.depthwise(self.expand(x))))
        return y + x if self.residual else y

    def emit(self, builder: ProgramBuilder, x: Map) -> Map:
        """Add the layers to a program of the fused kernels."""
        if self.residual:
            x = builder.plain(x)
        y = x
        for layer in (self.expand, self.depthwise, self.se, self.project):
            y = builder.emit(layer, y)
        return builder.sum(y, x) if self.residual else y


def block_channel_groups(block: Block, name: str, inputs: ChannelGroup) -> Iterator[ChannelGroup]:
    """Add the readers of the block called `name` to the group of its input, and yield the groups within the block."""
    inner = inputs
    if block.mid:
        inputs.read_by(f"{name}.expand.conv")
        inner = ChannelGroup().written_by(f"{name}.expand")
    inner.written_by(f"{name}.depthwise").read_by(f"{name}.project.conv")
    if block.se:
        inner.read_by(f"{name}.se.reduce").written_with_bias_by(f"{name}.se.expand")
        yield ChannelGroup().written_with_bias_by(f"{name}.se.reduce").read_by(f"{name}.se.expand")
    if block.mid:
        yield inner
