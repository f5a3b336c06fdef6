"""Layers of another library's network by the names of their tensors, and the parts of larger layers that it shares."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ...arch.arch import Arch
from ...utils.errors import FileError, InputError
from ..foreign_weights import with_names_of
from ..network import Network
from .layers import ForeignLayer

LayerName = tuple[str, str]  # of a layer, and of the batch norm behind it, "" for none
BlockNames = Mapping[str, Sequence[LayerName]]  # of the layers in an inverted residual's expand, depthwise, se, project
_NORM = ("weight", "bias", "running_mean", "running_var")
_COUNTER = "num_batches_tracked"
_NAMES_SHOWN = 3


def block_layers(names: BlockNames, prefix: str, *, mid: int, se: int) -> Iterator[LayerName]:
    """Yield the names of the layers of an inverted residual in the order of computation.

    Args:
        names: The names in any such block.
        prefix: The block's name.
        mid: Its expanded channels, 0 for no expansion.
        se: Its squeezed channels, 0 for no squeeze-excite.
    """
    absent = [part for part, channels in (("expand", mid), ("se", se)) if not channels]
    for part in ("expand", "depthwise", "se", "project"):
        if part in absent:
            continue
        for layer, norm in names[part]:
            yield f"{prefix}.{layer}", f"{prefix}.{norm}" if norm else ""


def weights_named(state: Mapping[str, Tensor], names: Sequence[LayerName], source: Path) -> dict[str, Tensor]:
    """Return a state dict without what wrappers put before its names.

    Args:
        state: Tensors by name.
        names: Of the layers that must be among them.
        source: The file of the tensors.

    Raises:
        FileError: Tensors of the layers are missing.
    """
    expected = tensor_names(names)
    named = with_names_of(expected, state)
    missing = [name for name in expected if name not in named]
    if missing:
        raise FileError(
            f"{source} has {len(state)} tensors, but of this network's {len(expected)} it lacks {len(missing)} "
            f"({_first(missing)}); name the file of the network's weights"
        )
    return named


def tensors_beside(state: Mapping[str, Tensor], names: Sequence[LayerName]) -> list[str]:
    """Return the names of the tensors that belong to none of the layers; biases may be there or not."""
    known = set(tensor_names(names)).union(f"{layer}.bias" for layer, _ in names)
    return [name for name in state if name not in known and not name.endswith(_COUNTER)]


def check_no_others(state: Mapping[str, Tensor], names: Sequence[LayerName], source: Path) -> None:
    """Raise FileError if a state dict has tensors that belong to none of the layers."""
    others = tensors_beside(state, names)
    if others:
        raise FileError(
            f"{source} has {len(others)} tensors ({_first(others)}) that belong to no layer of this network; name the "
            "file of the network's weights"
        )


def tensor_names(names: Iterable[LayerName]) -> list[str]:
    """Return the names of the weights of layers, and of all tensors of the norms behind them."""
    tensors = []
    for layer, norm in names:
        tensors.append(f"{layer}.weight")
        if norm:
            tensors += [f"{norm}.{tensor}" for tensor in _NORM]
    return tensors


def layers_named(state: Mapping[str, Tensor], names: Iterable[LayerName], eps: float) -> list[ForeignLayer]:
    """Return the layers of these names, all of whose tensors are in a state dict.

    Args:
        state: Tensors by name.
        names: Of the layers, in the order of computation.
        eps: What all batch norms add to the variance.
    """
    layers = []
    for name, norm_name in names:
        norm = {}
        if norm_name:
            norm = {tensor: state[f"{norm_name}.{tensor}"] for tensor in _NORM}
        weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias")
        layers.append(ForeignLayer(name=name, weight=weight, bias=bias, norm=norm, eps=eps))
    return layers


def weight_shapes(arch: Arch) -> list[tuple[int, ...]]:
    """Return the shapes of the weights of an arch's convolutions and linear layers, in the order of computation."""
    with torch.device("meta"):
        net = Network(arch)
    return [tuple(part.weight.shape) for part in net.modules() if isinstance(part, nn.Conv2d | nn.Linear)]


def leading_parts(layers: Sequence[ForeignLayer], arch: Arch) -> list[ForeignLayer]:
    """Return the parts of larger layers that are those of a network which shares their first channels.

    Args:
        layers: The larger network's layers, as many as the network has.
        arch: The network.

    Raises:
        InputError: A layer is smaller than the network's.
    """
    parts = []
    for layer, shape in zip(layers, weight_shapes(arch), strict=True):
        if any(size < needed for size, needed in zip(layer.weight.shape, shape[:2], strict=False)):
            raise InputError(
                f"the weight of {layer.name} is {tuple(layer.weight.shape)}, but the network needs {shape} of it"
            )
        outputs, inputs = shape[:2]
        parts.append(
            replace(
                layer,
                weight=layer.weight[:outputs, :inputs],
                bias=None if layer.bias is None else layer.bias[:outputs],
                norm={name: tensor[:outputs] for name, tensor in layer.norm.items()},
            )
        )
    return parts


def _first(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    return shown if len(names) <= _NAMES_SHOWN else f"{shown}, ..."
