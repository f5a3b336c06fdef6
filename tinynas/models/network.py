"""`Network`, in plain PyTorch, and `build(arch)`: what is searched, trained, measured and deployed.

Parameters are named by position (stages.2.0.project.conv.weight), so that networks of different size use the same name
for the same part; a supernet relies on nothing else.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ..arch.arch import SAME, Arch
from ..arch.blocks import Block
from ..arch.channels import ChannelGroup
from ..arch.own_code import errors_of_block
from ..kernels.program import Map, ProgramBuilder
from ..utils.errors import unknown
from .heads import HEAD_MODULES, HeadModule
from .layers import Chain, ConvNorm

INITS: dict[str, Callable[[Tensor], Tensor]] = {  # of convolutions (He et al., 2015)
    "kaiming-normal": partial(nn.init.kaiming_normal_, mode="fan_out"),
    "kaiming-uniform": partial(nn.init.kaiming_uniform_, a=5**0.5),  # by fan-in, and smaller: PyTorch's default
}


class ModuleSpec(NamedTuple):
    """How a module of a network is built; networks with equal specs can share the module."""

    name: str  # in the network: "stem", "stages.2.0" or "head"
    kind: Callable[..., nn.Module]
    args: tuple[Any, ...]

    def build(self) -> nn.Module:
        """Return a new module."""
        return self.kind(*self.args)


class Network(nn.Module):
    """The network of an `Arch`, as plain PyTorch modules.

    With padding "same" the stem and the stages run on the image turned by 180 degrees: there, padding by half a kernel
    on every side is the mirror image of TensorFlow Lite's padding. Images and outputs are upright.

    Args:
        arch: The architecture.
        modules: The modules to assemble, by name as in `module_specs(arch)`; by default they are built.

    Attributes:
        arch: The architecture.

    Example:
        >>> from tinynas import build, load_arch
        >>> network = build(load_arch("mobilenet-v2-tiny"))
        >>> network.arch.resolution
        144
    """

    def __init__(self, arch: Arch, modules: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__()
        if modules is None:
            modules = {spec.name: spec.build() for spec in module_specs(arch)}
        self.arch = arch
        self.taps = arch.taps()
        self.is_turned = arch.padding == SAME
        self.turns_back = self.is_turned and arch.head.is_spatial
        self.stem = cast(ConvNorm, modules["stem"])
        self.stages = nn.Sequential()
        for s, stage in enumerate(arch.stages):
            blocks = nn.Sequential()
            for b in range(len(stage)):
                blocks.append(modules[f"stages.{s}.{b}"])
            self.stages.append(blocks)
        self.head = cast(HeadModule, modules["head"])

    def forward(self, images: Tensor) -> Tensor:
        """Run the network.

        Args:
            images: (N, in_channels, H, W) of the arch's resolution, normalised.

        Returns:
            Logits (N, classes) of a classifier, or predictions (N, P, 4 + classes) of a detector.
        """
        x = self.stem(self.prepare(images))
        tapped = []
        for s, stage in enumerate(self.stages):
            x = stage(x)
            if s in self.taps:
                tapped.append(turned(x) if self.turns_back else x)
        outputs: Tensor = self.head(*tapped)
        return outputs

    def emit(self, builder: ProgramBuilder, images: Map) -> list[Map]:
        """Add what is in front of `finish` to a program of the fused kernels.

        Args:
            builder: Collects the program.
            images: Those that `prepare` returns.

        Returns:
            The program's outputs, which `finish` takes: pooled features (C, 1, 1), or maps (C, H, W).

        Raises:
            NotCoveredError: The kernels do not cover a layer.
        """
        x = builder.emit(self.stem, images)
        tapped = []
        for s, stage in enumerate(self.stages):
            for block in stage.children():
                x = builder.emit(block, x)
            if s in self.taps:
                tapped.append(x)
        if self.turns_back:
            return [builder.plain(x) for x in tapped]
        return self.head.emit(builder, *tapped)

    def prepare(self, images: Tensor) -> Tensor:
        """Turn images if the network does.

        Args:
            images: (N, in_channels, H, W).

        Returns:
            The images as the stem reads them.
        """
        return turned(images) if self.is_turned else images

    def finish(self, outputs: Sequence[Tensor]) -> Tensor:
        """Run what is behind the program of the fused kernels.

        Args:
            outputs: Those of the program: pooled features (N, C), or maps (N, C, H, W).

        Returns:
            The network's outputs.
        """
        if self.turns_back:
            outputs_of_head: Tensor = self.head(*[turned(maps) for maps in outputs])
            return outputs_of_head
        return self.head.finish(*outputs)

    def channel_groups(self) -> Iterator[ChannelGroup]:
        """Find the channels that can be reordered without changing what the network computes.

        Yields:
            Groups of channels, together with the tensors to be reordered.
        """
        stream = ChannelGroup().written_by("stem")  # of the feature maps between blocks
        for s, stage in enumerate(self.arch.stages):
            for b, block in enumerate(stage):
                outputs = stream if block.residual else ChannelGroup()
                yield from block.channel_groups(f"stages.{s}.{b}", stream, outputs)
                if not block.residual:
                    yield stream
                stream = outputs
            if s in self.taps:
                stream.read_by(self.head.input_layer(self.taps.index(s)))
        yield stream
        yield from self.head.channel_groups()

    def expanded_channel_groups(self) -> Iterator[ChannelGroup]:
        """Find those groups of channels that lie inside blocks.

        Yields:
            Groups of channels, as `channel_groups` does.
        """
        for s, stage in enumerate(self.arch.stages):
            for b, block in enumerate(stage):
                yield from block.channel_groups(f"stages.{s}.{b}", ChannelGroup(), ChannelGroup())


def turned(maps: Tensor) -> Tensor:
    """Return images, feature maps or kernels (..., H, W) turned by 180 degrees."""
    return maps.flip((-2, -1))


def module_specs(arch: Arch) -> Iterator[ModuleSpec]:
    """Yield the specs of the stem, of all blocks and of the head, in the order of computation."""
    stem = arch.stem
    yield ModuleSpec("stem", ConvNorm, (arch.in_channels, stem.out, stem.kernel, stem.stride, 1, stem.act))
    channels = stem.out
    for s, stage in enumerate(arch.stages):
        for b, block in enumerate(stage):
            yield ModuleSpec(f"stages.{s}.{b}", block_module, (block, channels))
            channels = block.out
    tapped = tuple(arch.stages[s][-1].out for s in arch.taps())
    yield ModuleSpec("head", HEAD_MODULES[type(arch.head)], (arch.head, tapped, arch.classes))


def block_module(block: Block, channels: int) -> nn.Module:
    """Build the module of a block for so many input channels.

    Raises:
        UnregisteredError: The block is the user's own, and raised an exception.
    """
    with errors_of_block(type(block), "module"):
        module: nn.Module = block.module(channels)
    return module


def build(
    arch: Arch, *, init: str = "kaiming-normal", residual_gain: float = 0.0, classifier_std: float | None = None
) -> Network:
    """Build the network of an architecture, newly initialised.

    Linear layers are initialised by fan-in (LeCun et al., 1998). By default the last norm of a block with a shortcut
    has scale 0, so that the block begins as the identity (Goyal et al., 2017, section 5.1): subnets of different depth
    then begin alike in a supernet. Weights, and therefore feature maps, are channels-last in memory, which is faster.

    Args:
        arch: The architecture.
        init: Initialisation of convolutions: "kaiming-normal" (by fan-out) or "kaiming-uniform" (by fan-in, smaller,
            PyTorch's default).
        residual_gain: Scale of the last norm of blocks with a shortcut.
        classifier_std: Standard deviation of the weights of a linear classifier; None: by fan-in, as above.

    Returns:
        A network in training mode, from images (N, in_channels, H, W) of the arch's resolution to logits (N, classes),
        or, of a detector, to predictions (N, P, 4 + classes).

    Raises:
        InputError: The initialisation is unknown.

    Example:
        >>> import torch
        >>> from tinynas import build, load_arch
        >>> network = build(load_arch("mobilenet-v2-tiny")).eval()
        >>> network(torch.zeros(2, 3, 144, 144)).shape
        torch.Size([2, 1000])
    """
    if init not in INITS:
        raise unknown("initialisation", init, INITS)
    net = Network(arch)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            INITS[init](module.weight)
        elif isinstance(module, nn.Linear):
            std = module.in_features**-0.5
            if classifier_std is not None and module is net.head.classifier:
                std = classifier_std
            nn.init.normal_(module.weight, std=std)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, Chain):
            module.scale_last_norm(residual_gain)
    net.head.init_outputs()
    return net.to(memory_format=torch.channels_last)


def example_input(arch: Arch, batch: int = 1) -> Tensor:
    """Return a batch of black images (batch, in_channels, H, W), as the arch's network takes them."""
    return torch.zeros(batch, *arch.input_shape)


def fold(net: Network, keep: Sequence[str] = ()) -> Network:
    """Return a copy in eval mode with every batch norm folded into the convolution before it.

    The copy computes the same up to rounding. The convolutions named in `keep` are left as they are, and so are the
    norms behind them.
    """
    folded = deepcopy(net)
    fold_in_place(folded, keep)
    return folded


def fold_in_place(net: nn.Module, keep: Sequence[str] = ()) -> None:
    """Fold a network's batch norms as `fold` does, without a copy; it is in eval mode then."""
    net.eval()
    for name, module in net.named_modules():
        if isinstance(module, ConvNorm) and f"{name}.conv" not in keep:
            conv, norm = module.conv, module.norm
            assert norm.running_mean is not None
            assert norm.running_var is not None
            conv.weight, conv.bias = fuse_conv_bn_weights(
                conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            )
            module.norm = nn.Identity()  # type: ignore[assignment]
