"""An imported network: another library's network, its preprocessing, and how it becomes a `Model`."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from ...arch.arch import SYMMETRIC, Arch
from ...data.base import IMAGENET, Normalisation
from ...data.image_split import CROP
from ...data.transforms import BILINEAR
from ...utils.errors import InputError
from ..network import Network, build, example_input
from .layers import ForeignLayer, copy_layers

TOLERANCE = 1e-4  # largest difference of outputs, where the largest output is 1 or smaller; else relative to that
_CHECKED_IMAGES = 2


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How another library makes an image the input of its network.

    Attributes:
        normalise: Mean and standard deviation per channel.
        crop: Fraction of an image's shorter side that the network sees.
        interpolation: How images are resized: "bilinear" or "bicubic".
    """

    normalise: Normalisation = IMAGENET
    crop: float = CROP
    interpolation: str = BILINEAR


@dataclass(frozen=True, kw_only=True)
class ForeignNetwork:
    """Another library's network.

    Attributes:
        arch: Its architecture.
        layers: Its weights, layer by layer.
        preprocessing: Of its images.
        module: The network itself, where its library can build it.
    """

    arch: Arch
    layers: Sequence[ForeignLayer]
    preprocessing: Preprocessing
    module: nn.Module | None = None

    def to_network(self) -> Network:
        """Return a network that computes the same, in eval mode.

        Raises:
            InputError: The weights are not those of the arch, or the outputs differ from those of `module`.
        """
        net = build(self.arch).eval().double()  # until it is checked, so that rounded weights are no difference
        copy_layers(net, self.layers)
        if self.module is not None:
            difference = largest_difference(net, self.module.eval())
            if difference > TOLERANCE:
                raise InputError(
                    f"the imported network's outputs differ by {difference:.2g} from the original's, so it has a layer "
                    "that tinynas does not know; it cannot be imported"
                )
        return net.float()


@torch.no_grad()
def largest_difference(net: Network, original: nn.Module, *, seed: int = 0) -> float:
    """Return the largest difference of two networks' outputs for random images, relative to the largest output.

    It is that of fp64: in fp32, networks that are not trained can make much of the last digit of a rounded number.

    Args:
        net: An imported network.
        original: The other library's network, in eval mode.
        seed: Of the images.
    """
    shape = example_input(net.arch, _CHECKED_IMAGES).shape
    images = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()
    expected = deepcopy(original).double()(images)
    outputs = deepcopy(net).double()(images)
    return float((outputs - expected).abs().max() / expected.abs().max().clamp(min=1))


def arch_of_blocks(
    *,
    resolution: Any,
    stem: dict[str, Any],
    blocks: Sequence[dict[str, Any]],
    head: dict[str, Any],
    in_channels: int,
    classes: int,
    padding: str = SYMMETRIC,
) -> Arch:
    """Return the arch of a sequence of blocks as plain data; a stage begins where the channels or the size change."""
    stages: list[list[dict[str, Any]]] = []
    channels = 0
    for block in blocks:
        if block["out"] != channels or block["stride"] != 1:
            stages.append([])
        stages[-1].append(block)
        channels = block["out"]
    plain = {"resolution": 1, "in_channels": in_channels, "classes": classes, "padding": padding}
    arch = Arch.from_dict({**plain, "stem": stem, "stages": stages, "head": head})
    return replace(arch, resolution=resolution)
