"""The layers of blocks: convolutions with batch norm, squeeze-excite, chains of layers with a shortcut."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..arch.checks import check_activation
from ..kernels.program import Map, NotCoveredError, ProgramBuilder
from ..utils.distributed import shard, world_size
from ..utils.sizes import Size, pair
from .batchnorm import BatchNorm

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


def activation(name: str) -> nn.Module:
    """Return the layer of an activation, the identity for "". Raises InputError if the name is unknown."""
    if not name:
        return nn.Identity()
    check_activation(name)
    return ACTIVATIONS[name](inplace=True)


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
        self, in_channels: int, out_channels: int, kernel: Size = 1, stride: Size = 1, groups: int = 1, act: str = ""
    ) -> None:
        super().__init__()
        if kernel == stride == groups == 1:
            self.conv: nn.Conv2d = PointwiseConv(in_channels, out_channels)
        else:
            height, width = pair(kernel)
            padding = height // 2, width // 2
            self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)
        self.norm = BatchNorm(out_channels)
        self.act = activation(act)

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


class Chain(nn.Module):
    """Layers one after another, and a shortcut around them: (N, C, H, W) -> what the last layer returns.

    Args:
        shortcut: `nn.Identity()` adds the input to the last layer's output, another layer what it returns for the
            input; None: no shortcut.
        act: Activation after the sum; "" for none.
        **layers: The layers by name, in their order; None for one that the block does not have.
    """

    def __init__(self, *, shortcut: nn.Module | None = None, act: str = "", **layers: nn.Module | None) -> None:
        super().__init__()
        self.layer_names = [name for name, layer in layers.items() if layer is not None]
        for name in self.layer_names:
            self.add_module(name, layers[name])
        self.shortcut = shortcut
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        """Run the layers, add the shortcut and activate the sum."""
        y = x
        for layer in self.layers():
            y = layer(y)
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        activated: Tensor = self.act(y)
        return activated

    def layers(self) -> list[nn.Module]:
        """Return the layers in their order."""
        return [self.get_submodule(name) for name in self.layer_names]

    def scale_last_norm(self, scale: float) -> None:
        """Set the scale of the last layer's batch norm, if there is a shortcut: with 0 the block begins as that."""
        last = self.layers()[-1]
        if self.shortcut is not None and isinstance(last, ConvNorm):
            nn.init.constant_(last.norm.weight, scale)

    def emit(self, builder: ProgramBuilder, x: Map) -> Map:
        """Add the layers to a program of the fused kernels.

        Raises:
            NotCoveredError: The kernels do not cover a layer.
        """
        if not isinstance(self.shortcut, nn.Identity | None) or not isinstance(self.act, nn.Identity):
            raise NotCoveredError("the kernels do not cover a convolution in a shortcut, or an activation of a sum")
        if self.shortcut is not None:
            x = builder.plain(x)
        y = x
        for layer in self.layers():
            y = builder.emit(layer, y)
        return y if self.shortcut is None else builder.sum(y, x)
