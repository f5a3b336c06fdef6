"""The plain modules, and `build(arch)`: the network that is searched, trained, measured and deployed.

Parameters are named by place (stages.2.0.project.conv.weight), so that networks of different size name the same
part alike; that is all a supernet needs to know.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..arch.arch import Arch, Head
from .heads import ClassifierHead, DetectionHead
from .layers import ConvNorm, InvertedResidual

_RARE = -4.0  # logit of objectness before training: few places have an object (Lin et al., ICCV 2017, section 3.3)
INITS: dict[str, Callable[[Tensor], Tensor]] = {  # of convolutions (He et al., 2015)
    "kaiming-normal": partial(nn.init.kaiming_normal_, mode="fan_out"),
    "kaiming-uniform": partial(nn.init.kaiming_uniform_, a=5**0.5),  # by fan-in, and smaller: PyTorch's own
}


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
        kind, taken = (ClassifierHead, channels) if classify else (DetectionHead, tuple(widths))
        self.head: ClassifierHead | DetectionHead = make("head", kind, arch.head, taken, arch.classes)

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
    if isinstance(net.head, DetectionHead):
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
