"""The weights of another library's network, layer by layer in the order of computation, copied into a `Network`.

Both networks have the same layers in the same order, whatever the names of their tensors; only batch norms, biases and
the place of the zeros around feature maps differ, and are converted so that the network computes the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ...utils.errors import InputError
from ..batchnorm import BatchNorm
from ..layers import ConvNorm
from ..network import Network, turned

_NORM = ("weight", "bias", "running_mean", "running_var")
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True, kw_only=True)
class ForeignLayer:
    """A convolution or a linear layer of another library's network, with the batch norm behind it.

    Attributes:
        name: Its name there, for error messages.
        weight: (out, in / groups, height, width) of a convolution, (out, in) of a linear layer.
        bias: (out,); None for no bias.
        norm: Weight, bias, running mean and running variance of the batch norm, (out,) each, by name; empty for none.
        eps: What the batch norm adds to the variance.
    """

    name: str
    weight: Tensor
    bias: Tensor | None = None
    norm: Mapping[str, Tensor] = field(default_factory=dict)
    eps: float = 1e-5


def layers_in(state: Mapping[str, Tensor], eps: float) -> list[ForeignLayer]:
    """Return the layers of a state dict, whose tensors are in the order of computation.

    Args:
        state: Tensors by name.
        eps: What all batch norms add to the variance.

    Raises:
        InputError: A tensor belongs to neither a convolution, nor a linear layer, nor a batch norm behind one.
    """
    modules: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        module, _, key = name.rpartition(".")
        if key != _COUNTER:
            modules.setdefault(module, {})[key] = tensor
    layers: list[ForeignLayer] = []
    for module, tensors in modules.items():
        if not tensors.keys() <= set(_NORM) or "weight" not in tensors:
            raise InputError(f"the tensors {module}.{', '.join(tensors)} are of no convolution, linear layer or norm")
        weight, bias = tensors["weight"], tensors.get("bias")
        if weight.ndim > 1:
            layers.append(ForeignLayer(name=module, weight=weight, bias=bias, eps=eps))
        elif not layers or layers[-1].norm or tensors.keys() != set(_NORM):
            raise InputError(f"the norm {module} is not a batch norm behind a convolution or linear layer")
        else:
            last = layers[-1]
            layers[-1] = ForeignLayer(name=last.name, weight=last.weight, bias=last.bias, norm=tensors, eps=eps)
    return layers


@torch.no_grad()
def copy_layers(net: Network, layers: Sequence[ForeignLayer]) -> None:
    """Copy the weights of another network's layers.

    A batch norm's epsilon is made up for in its weight, so that the outputs are the same for the running statistics.
    Where only one of the two networks has a norm behind a layer, it is folded, or one is added that changes nothing but
    the bias. With padding "same" kernels are turned, as the network's images are.

    Args:
        net: The network.
        layers: The other network's layers.

    Raises:
        InputError: The networks have different numbers of layers, or a layer has another shape.
    """
    own = list(_layers_of(net))
    if len(own) != len(layers):
        raise InputError(f"the network has {len(own)} layers, but the weights are those of {len(layers)}")
    for (name, module, norm), layer in zip(own, layers, strict=True):
        weight = _in_shape_of(module.weight, layer, name)
        if net.is_turned and not name.startswith("head."):
            weight = turned(weight)
        if norm is not None:
            module.weight.copy_(weight)
            _set_norm(norm, layer)
        else:
            scale, bias = _folded_norm(layer)
            module.weight.copy_(weight * scale.view(-1, *[1] * (weight.ndim - 1)))
            assert module.bias is not None
            module.bias.copy_(bias)


def _layers_of(net: Network) -> Iterator[tuple[str, nn.Conv2d | nn.Linear, BatchNorm | None]]:
    """Yield the name of every convolution and linear layer, the layer, and the norm behind it."""
    norms: dict[nn.Module, BatchNorm] = {}
    for part in net.modules():
        if isinstance(part, ConvNorm):
            norms[part.conv] = part.norm
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            yield name, module, norms.get(module)


def _in_shape_of(expected: Tensor, layer: ForeignLayer, name: str) -> Tensor:
    """Return a layer's weight in the shape of another, (out, in) like (out, in, 1, 1). Raises InputError for others."""
    if _as_kernel(layer.weight) != _as_kernel(expected):
        raise InputError(
            f"the weight of {layer.name} is {tuple(layer.weight.shape)}, where the network has "
            f"{tuple(expected.shape)}, in {name}"
        )
    return layer.weight.double().view(expected.shape)


def _as_kernel(weight: Tensor) -> tuple[int, ...]:
    """Return the shape of a weight, (out, in, height, width)."""
    return (*weight.shape, 1, 1)[:4]


def _set_norm(norm: BatchNorm, layer: ForeignLayer) -> None:
    """Set a batch norm so that it computes what a layer's norm does, and adds the layer's bias."""
    values = {name: tensor.double() for name, tensor in layer.norm.items()}
    channels = len(layer.weight)
    bias = torch.zeros(channels).double() if layer.bias is None else layer.bias.double()
    if not values:
        unchanged = torch.full((channels,), 1 + norm.eps).double().sqrt()
        values = {"weight": unchanged, "bias": bias, "running_mean": 0 * bias, "running_var": torch.ones(channels)}
    else:
        variance = values["running_var"]
        values["weight"] = values["weight"] * ((variance + norm.eps) / (variance + layer.eps)).sqrt()
        values["running_mean"] = values["running_mean"] - bias
    norm.load_state_dict(values, strict=False)  # but for the counter of batches, nothing is missing


def _folded_norm(layer: ForeignLayer) -> tuple[Tensor, Tensor]:
    """Return the factor of a layer's weight and the bias, (out,) each, that its norm and its bias come down to."""
    channels = len(layer.weight)
    bias = torch.zeros(channels).double() if layer.bias is None else layer.bias.double()
    if not layer.norm:
        return torch.ones(channels).double(), bias
    scale = layer.norm["weight"].double() / (layer.norm["running_var"].double() + layer.eps).sqrt()
    return scale, layer.norm["bias"] + (bias - layer.norm["running_mean"]) * scale
