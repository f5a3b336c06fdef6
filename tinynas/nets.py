"""The plain modules, and `build(arch)`: the network that is searched, trained, measured and deployed.

Parameters are named by place (stages.2.0.project.conv.weight), so that networks of different size name the same
part alike; that is all a supernet needs to know.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from . import arch as arch_module
from .arch import Arch, Block, Head

_RARE = -4.0  # logit of objectness before training: few places have an object (Lin et al., ICCV 2017, section 3.3)
_ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6, "hswish": nn.Hardswish}

INITS: dict[str, Callable[[Tensor], Tensor]] = {  # of convolutions (He et al., 2015)
    "kaiming-normal": partial(nn.init.kaiming_normal_, mode="fan_out"),
    "kaiming-uniform": partial(nn.init.kaiming_uniform_, a=5**0.5),  # by fan-in, and smaller: PyTorch's own
}


class ConvNorm(nn.Module):
    """Convolution, batch norm and, if named, an activation. (N, cin, H, W) -> (N, cout, H', W')."""

    def __init__(self, cin: int, cout: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: str = "") -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(cout)
        self.act = _ACTIVATIONS[act](inplace=True) if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.norm(self.conv(x)))
        return y


class SqueezeExcite(nn.Module):
    """Channel gates from global averages (Hu et al., 2018), hard sigmoid as in MobileNetV3. Keeps the shape."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeeze, 1)
        self.expand = nn.Conv2d(squeeze, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.expand(self.reduce(x.mean((2, 3), keepdim=True)).relu())  # (N, C, 1, 1)
        return x * nn.functional.hardsigmoid(gate)


class InvertedResidual(nn.Module):
    """The network of a `Block`: (N, channels, H, W) -> (N, block.out, H / stride, W / stride)."""

    def __init__(self, block: Block, channels: int) -> None:
        super().__init__()
        mid = block.mid or channels
        self.expand = ConvNorm(channels, mid, act=block.act) if block.mid else nn.Identity()
        self.depthwise = ConvNorm(mid, mid, block.kernel, block.stride, groups=mid, act=block.act)
        self.se = SqueezeExcite(mid, block.se) if block.se else nn.Identity()
        self.project = ConvNorm(mid, block.out)
        self.residual = block.residual

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.se(self.depthwise(self.expand(x))))
        return y + x if self.residual else y


class ClassifierHead(nn.Module):
    """The network of a `Head`: (N, channels, H, W) -> logits (N, classes)."""

    def __init__(self, head: Head, channels: int, classes: int) -> None:
        super().__init__()
        self.conv = ConvNorm(channels, head.conv, act=head.act) if head.conv else nn.Identity()
        features = head.conv or channels
        self.hidden = nn.Linear(features, head.hidden) if head.hidden else nn.Identity()
        self.act = _ACTIVATIONS[head.act]() if head.hidden else nn.Identity()
        self.dropout = nn.Dropout(0.0)
        self.classifier = nn.Linear(head.hidden or features, classes)

    def forward(self, x: Tensor) -> Tensor:
        features = self.conv(x).mean((2, 3))
        logits: Tensor = self.classifier(self.dropout(self.act(self.hidden(features))))
        return logits


class DetectorHead(nn.Module):
    """The network of a detector's head: feature maps of strides 16 and 32 -> (N, P, 5 + classes).

    P predictions: at each level, fine first, for each anchor, row and column. Each is x and y in its cell,
    width and height relative to the anchor, objectness, and the classes: all logits, see detection.decode.
    """

    def __init__(self, head: arch_module.DetectorHead, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        width = head.width
        self.per_cell = head.per_cell
        self.lateral = nn.ModuleList([ConvNorm(c, width, act=head.act) for c in channels])
        self.depthwise = nn.ModuleList(
            [ConvNorm(width, width, head.kernel, groups=width, act=head.act) for _ in channels]
        )
        self.pointwise = nn.ModuleList([ConvNorm(width, width, act=head.act) for _ in channels])
        self.dropout = nn.Dropout(0.0)
        self.classifier = nn.ModuleList([nn.Conv2d(width, head.per_cell * (5 + classes), 1) for _ in channels])

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        coarse = self.lateral[1](coarse)
        fine = self.lateral[0](fine)
        doubled = nn.functional.interpolate(coarse, scale_factor=2.0)  # other factors not all converters get right
        if doubled.shape != fine.shape:
            doubled = doubled[:, :, : fine.shape[2], : fine.shape[3]]
        fine = doubled + fine
        predicted = [self._predict(1, coarse), self._predict(0, fine)]
        return torch.cat(predicted[::-1], 1)

    def _predict(self, level: int, features: Tensor) -> Tensor:
        x = self.dropout(self.pointwise[level](self.depthwise[level](features)))
        made = self.classifier[level](x)  # (N, A * (5 + classes), H, W)
        return made.unflatten(1, (self.per_cell, -1)).permute(0, 1, 3, 4, 2).flatten(1, 3)  # type: ignore[no-any-return]


class Network(nn.Module):
    """The network of an `Arch`: images (N, in_channels, resolution, resolution) -> what its head gives.

    `make` makes each part with weights: given its name here, its class, and what that takes.
    """

    def __init__(self, arch: Arch, make: Callable[..., Any] = lambda name, kind, *args: kind(*args)) -> None:
        super().__init__()
        self.arch = arch
        stem = arch.stem
        self.stem = make("stem", ConvNorm, arch.in_channels, stem.out, stem.kernel, stem.stride, 1, stem.act)
        channels = stem.out
        stages, self.taps, widths = [], arch.taps(), []
        for s, stage in enumerate(arch.stages):
            blocks = []
            for b, block in enumerate(stage):
                blocks.append(make(f"stages.{s}.{b}", InvertedResidual, block, channels))
                channels = block.out
            stages.append(nn.Sequential(*blocks))
            if s in self.taps:
                widths.append(channels)
        self.stages = nn.Sequential(*stages)
        classify = isinstance(arch.head, Head)
        kind, taken = (ClassifierHead, channels) if classify else (DetectorHead, tuple(widths))
        self.head: ClassifierHead | DetectorHead = make("head", kind, arch.head, taken, arch.classes)

    def forward(self, images: Tensor) -> Tensor:
        x, maps = self.stem(images), []
        for s, stage in enumerate(self.stages):
            x = stage(x)
            if s in self.taps:
                maps.append(x)
        made: Tensor = self.head(*maps)
        return made


def build(arch: Arch, *, init: str = "kaiming-normal") -> Network:
    """The plain network of an arch, freshly initialised.

    Convolutions by `init`, one of INITS, linear layers by fan-in (LeCun et al., 1998). A block with a shortcut
    begins as the identity, its last norm's scale being 0 (Goyal et al., 2017, section 5.1): in a supernet, subnets of
    different depth then begin alike. The weights lie channels-last in memory, and so then do all feature maps,
    which is faster (benchmarks/speed.py).
    """
    net = Network(arch)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            INITS[init](module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, InvertedResidual) and module.residual:
            nn.init.zeros_(module.project.norm.weight)
    if isinstance(net.head, DetectorHead):
        for level in (0, 1):
            bias = net.head.get_parameter(f"classifier.{level}.bias").detach()
            bias.view(net.head.per_cell, -1)[:, 4] = _RARE
    return net.to(memory_format=torch.channels_last)


def fold(net: Network, keep: Sequence[str] = ()) -> Network:
    """A copy in eval mode with every norm folded into the convolution before it: the same function up to rounding.

    The modules named in `keep` give what they gave.
    """
    folded = deepcopy(net).eval()
    for name, module in folded.named_modules():
        if isinstance(module, ConvNorm) and f"{name}.conv" not in keep:
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()  # type: ignore[assignment]
    return folded


class ChannelGroup:
    """Channels of feature maps that must keep one order, and the tensors that hold an index of them.

    Writers make the channels (convolution outputs, norms, gates), readers take them; each is a tensor's name in the
    network's state and the dimension that the channels index.
    """

    def __init__(self) -> None:
        self.writers: list[tuple[str, int]] = []
        self.readers: list[tuple[str, int]] = []

    def written_by(self, name: str) -> "ChannelGroup":
        """Add the output channels of a ConvNorm."""
        self.writers.append((f"{name}.conv.weight", 0))
        self.writers += [(f"{name}.norm.{part}", 0) for part in ("weight", "bias", "running_mean", "running_var")]
        return self

    def written_with_bias_by(self, name: str) -> "ChannelGroup":
        """Add the outputs of a convolution or linear layer with bias."""
        self.writers += [(f"{name}.weight", 0), (f"{name}.bias", 0)]
        return self

    def read_by(self, name: str) -> "ChannelGroup":
        """Add the input channels of a convolution or linear layer."""
        self.readers.append((f"{name}.weight", 1))
        return self


def channel_groups(arch: Arch) -> Iterator[ChannelGroup]:
    """Every group of channels that can be reordered without changing what `build(arch)` computes."""
    stream = ChannelGroup().written_by("stem")  # of the feature maps between blocks
    taps, head = arch.taps(), arch.head
    for s, stage in enumerate(arch.stages):
        for b, block in enumerate(stage):
            name = f"stages.{s}.{b}"
            inner = stream  # of those within the block
            if block.mid:
                stream.read_by(f"{name}.expand.conv")
                inner = ChannelGroup().written_by(f"{name}.expand")
            inner.written_by(f"{name}.depthwise").read_by(f"{name}.project.conv")
            if block.se:
                inner.read_by(f"{name}.se.reduce").written_with_bias_by(f"{name}.se.expand")
                yield ChannelGroup().written_with_bias_by(f"{name}.se.reduce").read_by(f"{name}.se.expand")
            if block.mid:
                yield inner
            if not block.residual:
                yield stream
                stream = ChannelGroup()
            stream.written_by(f"{name}.project")
        if isinstance(head, arch_module.DetectorHead) and s in taps:
            stream.read_by(f"head.lateral.{taps.index(s)}.conv")
    if isinstance(head, arch_module.DetectorHead):
        yield stream
        yield from _detector_groups()
        return
    if head.conv:
        yield stream.read_by("head.conv.conv")
        stream = ChannelGroup().written_by("head.conv")
    if head.hidden:
        yield stream.read_by("head.hidden")
        stream = ChannelGroup().written_with_bias_by("head.hidden")
    yield stream.read_by("head.classifier")


def _detector_groups() -> Iterator[ChannelGroup]:
    added = ChannelGroup()  # both levels' maps, since one is added to the other
    for level in (0, 1):
        name = f"head.{{}}.{level}"
        added.written_by(name.format("lateral")).written_by(name.format("depthwise"))
        added.read_by(name.format("pointwise") + ".conv")
        yield ChannelGroup().written_by(name.format("pointwise")).read_by(name.format("classifier"))
    yield added
