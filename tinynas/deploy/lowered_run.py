"""A lowered network in PyTorch: the weights of its operators, and the values of its tensors for a batch of images."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from ..arch.operators import CONVOLUTIONS, LoweredNetwork, Operator


@dataclass(frozen=True, kw_only=True)
class LayerWeights:
    """Weights of a convolution or linear layer, norm folded, turned, scaled and shifted as the operator wants them.

    Attributes:
        weight: (out_channels, in_channels, k, k) or (out_features, in_features), fp32.
        bias: (out_channels,), fp32.
    """

    weight: Tensor
    bias: Tensor


def layer_weights(network: LoweredNetwork, folded: nn.Module) -> dict[str, LayerWeights]:
    """Return the weights of a lowered network's layers by the names of their operators.

    Args:
        network: The lowered network.
        folded: The network in PyTorch, on the CPU, with folded norms as `fold` returns it.
    """
    weights = {}
    for operator in network.operators:
        if operator.layer:
            layer = folded.get_submodule(operator.layer)
            weight, bias = layer.get_parameter("weight").detach(), layer.get_parameter("bias").detach()
            weight = weight * operator.weight_scale
            if operator.kind in CONVOLUTIONS and weight.ndim == 2:  # a linear layer on one pixel
                weight = weight[:, :, None, None]
            if operator.turned:
                weight = weight.flip((2, 3))
            weights[operator.name] = LayerWeights(weight=weight, bias=bias + operator.bias_shift)
    return weights


def run_lowered(
    network: LoweredNetwork,
    weights: Mapping[str, LayerWeights],
    images: Tensor,
    transform: Callable[[str, Tensor], Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return the values of all tensors by name, for images (N, C, H, W); feature maps are (N, C, H, W), too.

    The network must be whole: a part of one does not take images.

    Args:
        network: The network.
        weights: Its weights, as `layer_weights` returns them.
        images: The images.
        transform: Replaces the values of a tensor, by its name, before they are read.
    """
    (image,) = network.inputs
    values = {image.name: transform(image.name, images) if transform else images}
    for operator in network.operators:
        inputs = [values[tensor.name] for tensor in operator.inputs]
        if operator.layer:
            output = _run_layer(operator, weights[operator.name], inputs[0])
        else:
            output = _WITHOUT_WEIGHTS[operator.kind](operator, *inputs)
        values[operator.name] = transform(operator.name, output) if transform else output
    return values


def _run_layer(operator: Operator, layer: LayerWeights, x: Tensor) -> Tensor:
    if operator.kind == "FULLY_CONNECTED":
        y = functional.linear(x.flatten(1), layer.weight, layer.bias)
    else:
        y = _convolve(operator, layer, x)
    return _ACTIVATIONS[operator.activation](y)


def _convolve(operator: Operator, layer: LayerWeights, x: Tensor) -> Tensor:
    groups = operator.output.channels if operator.kind == "DEPTHWISE_CONV_2D" else 1
    (top, bottom), (left, right) = operator.padding
    padding = top, left
    if (top, left) != (bottom, right):
        x, padding = functional.pad(x, (left, right, top, bottom)), (0, 0)
    return functional.conv2d(x, layer.weight, layer.bias, operator.stride, padding, groups=groups)


def _identity(x: Tensor) -> Tensor:
    return x


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "": _identity,
    "relu": functional.relu,
    "relu6": functional.relu6,
}


def _add(operator: Operator, x: Tensor, y: Tensor) -> Tensor:
    return _ACTIVATIONS[operator.activation](x + y)


def _multiply(operator: Operator, x: Tensor, gate: Tensor) -> Tensor:
    return x * gate


def _mean(operator: Operator, x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=len(operator.output.shape) == 4)


def _hard_swish(operator: Operator, x: Tensor) -> Tensor:
    return functional.hardswish(x)


def _resize(operator: Operator, x: Tensor) -> Tensor:
    """Double the size, and crop a row and a column if the output's size is odd."""
    _, height, width, _ = operator.output.shape
    return functional.interpolate(x, scale_factor=2.0)[:, :, :height, :width]


_WITHOUT_WEIGHTS: dict[str, Callable[..., Tensor]] = {
    "ADD": _add,
    "MUL": _multiply,
    "MEAN": _mean,
    "HARD_SWISH": _hard_swish,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
}
