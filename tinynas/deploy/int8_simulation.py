"""What an int8 file computes, in PyTorch: quantized weights, and activations rounded to int8 (fake quantization).

Gradients pass through rounding as if it were the identity (the straight-through estimator, Bengio et al., 2013), and
are 0 where a value is clipped.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..arch.operators import LoweredNetwork, Operator
from .lowered_run import LayerWeights, run_lowered
from .quantization import Quantization, weight_scales


def run_int8(
    network: LoweredNetwork,
    weights: Mapping[str, LayerWeights],
    quantizations: Mapping[str, Quantization],
    images: Tensor,
) -> dict[str, Tensor]:
    """Return the dequantized values of all tensors of an int8 file by name, for images (N, C, H, W).

    Args:
        network: The network.
        weights: Its fp32 weights.
        quantizations: Quantization of every tensor of activations.
        images: The images.
    """
    rounded = round_weights(network, weights, quantizations)
    return run_lowered(network, rounded, images, FakeQuantization(quantizations))


def round_weights(
    network: LoweredNetwork, weights: Mapping[str, LayerWeights], quantizations: Mapping[str, Quantization]
) -> dict[str, LayerWeights]:
    """Return the weights as int8 represents them; biases, which are int32, stay as they are."""
    rounded = {}
    for operator in network.operators:
        if operator.layer:
            rounded[operator.name] = _round_layer(operator, weights[operator.name], quantizations)
    return rounded


class FakeQuantization:
    """Rounds activations to the values that int8 represents.

    Args:
        quantizations: Quantization of every tensor by name.
    """

    def __init__(self, quantizations: Mapping[str, Quantization]) -> None:
        self.quantizations = quantizations

    def __call__(self, name: str, values: Tensor) -> Tensor:
        parameters = self.quantizations[name]
        return torch.fake_quantize_per_tensor_affine(values, parameters.scale, parameters.zero_point, -128, 127)


def _round_layer(operator: Operator, layer: LayerWeights, quantizations: Mapping[str, Quantization]) -> LayerWeights:
    channels = len(layer.weight)
    scales = torch.from_numpy(weight_scales(operator, layer, quantizations)).expand(channels).contiguous()
    zeros = torch.zeros(channels, dtype=torch.int32)
    weight = torch.fake_quantize_per_channel_affine(layer.weight, scales, zeros, 0, -127, 127)
    return LayerWeights(weight=weight, bias=layer.bias)
