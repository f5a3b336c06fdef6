"""Checkpoints of the code of NetAug's authors (Cai et al., 2022), for the five networks that they publish.

A file has the weights of such a network, or of the augmented network that was trained around it: there the network is
the first channels of every layer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ...arch.arch import Arch
from ...arch.zoo import load_arch
from ...utils.errors import FileError, unknown
from ...utils.sizes import Size
from ..foreign_weights import read_weights, with_names_of
from .foreign_network import ForeignNetwork, Preprocessing
from .layers import ForeignLayer
from .named_layers import (
    BlockNames,
    LayerName,
    block_layers,
    layers_named,
    leading_parts,
    tensor_names,
    tensors_beside,
    weight_shapes,
)

NETWORKS = (
    "mobilenet-v2-tiny",
    "mobilenet-v2-w0.35",
    "mobilenet-v3-large-w0.35",
    "proxyless-mobile-w0.35",
    "mcunet-in3",
)
_EPS = 1e-5
_BLOCK: BlockNames = {
    "expand": [("inverted_conv.conv", "inverted_conv.norm")],
    "depthwise": [("depth_conv.conv", "depth_conv.norm")],
    "se": [("se_layer.reduce_conv", ""), ("se_layer.expand_conv", "")],
    "project": [("point_conv.conv", "point_conv.norm")],
}
_SAME = 0.1  # largest difference of two factors of widths that are equal but for rounding, relative to them


def import_netaug(name: str, file: Path | None = None, *, resolution: Size | None = None) -> ForeignNetwork:
    """Return one of the networks that NetAug's authors publish.

    Args:
        name: One of NETWORKS. Without a file, the path of the checkpoint: of whichever network it is.
        file: A checkpoint of the authors' code, of the network (`target.pt`) or of the augmented one (`best.pt`).
        resolution: Size of its images in pixels; None: that which the authors trained with.

    Raises:
        InputError: The network is none of theirs.
        FileError: The file is missing or corrupt, or has the weights of another network.
    """
    candidates: Sequence[str] = NETWORKS
    if file is not None:
        if name not in NETWORKS:
            raise unknown("network of NetAug's code", name, NETWORKS)
        candidates = [name]
    checkpoint = file or Path(name).expanduser()
    state = read_weights(checkpoint)
    for candidate in candidates:
        network = _network_in(state, load_arch(candidate))
        if network is not None:
            return replace(network, arch=replace(network.arch, resolution=resolution or network.arch.resolution))
    raise FileError(
        f"{checkpoint} has the weights neither of {' nor of '.join(candidates)} in NetAug's code, nor of an augmented "
        "network around it; save the state_dict() of one in it"
    )


def _network_in(state: Mapping[str, Tensor], arch: Arch) -> ForeignNetwork | None:
    """Return the network of an arch with the weights of a checkpoint; None if the checkpoint is of another network."""
    names = layers_of(arch)
    expected = tensor_names(names)
    named = with_names_of(expected, state)
    if not set(expected) <= named.keys() or tensors_beside(named, names):
        return None
    layers = layers_named(named, names, _EPS)
    arch = arch.fitted_to(in_channels=layers[0].weight.shape[1], classes=len(layers[-1].weight))
    if not _is_within(arch, layers):
        return None
    return ForeignNetwork(arch=arch, layers=leading_parts(layers, arch), preprocessing=Preprocessing())


def layers_of(arch: Arch) -> list[LayerName]:
    """Return the names that the authors' code has for the layers of one of NETWORKS, in the order of computation."""
    stem, first = "backbone.input_stem.op_list.0", "backbone.input_stem.op_list.1"
    names: list[LayerName] = [(f"{stem}.conv", f"{stem}.norm")]
    last = len(arch.stages) - 1
    has_block_in_head = len(arch.stages[last]) == 1  # all but MobileNetV3
    for s, stage in enumerate(arch.stages):
        for b, block in enumerate(stage):
            prefix = f"backbone.stages.{s - 1}.op_list.{b}"
            if s == 0:
                prefix = first
            elif s == last and has_block_in_head:
                prefix = "head.op_list.0"
            plain: Any = block
            names += block_layers(_BLOCK, f"{prefix}.conv", mid=plain.mid, se=plain.se)
    return names + _layers_of_head(arch, number=1 if has_block_in_head else 0)


def _layers_of_head(arch: Arch, number: int) -> list[LayerName]:
    """Return the names of the layers of a head, the first of which has a number; the average pooling has one too."""
    head: Any = arch.head
    names: list[LayerName] = []
    if head.conv:
        names.append((f"head.op_list.{number}.conv", f"head.op_list.{number}.norm"))
        number += 1
    number += 1  # the pooling
    if head.hidden:
        names.append((f"head.op_list.{number}.conv", ""))
        number += 1
    names.append((f"head.op_list.{number}.linear", ""))
    return names


def _is_within(arch: Arch, layers: Sequence[ForeignLayer]) -> bool:
    """Return whether layers are those of a network, or of it with all widths multiplied by a factor of 1 or more."""
    shapes = weight_shapes(arch)
    for layer, shape in zip(layers, shapes, strict=True):
        larger = layer.weight.shape
        if larger[0] < shape[0] or larger[1] < shape[1] or _kernel(larger) != _kernel(shape):
            return False
    factor = len(layers[0].weight) / shapes[0][0]
    factor_of_features = layers[-1].weight.shape[1] / shapes[-1][1]
    return abs(factor_of_features / factor - 1) < _SAME


def _kernel(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the kernel size of a convolution or linear layer whose weight has a shape."""
    return tuple(shape[2:]) or (1, 1)
