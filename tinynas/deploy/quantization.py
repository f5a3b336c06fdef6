"""Int8 quantization as TensorFlow Lite defines it: value = scale * (q - zero_point).

Activations have one scale and zero point per tensor, from a range of values. Weights are symmetric, with a scale per
output channel for convolutions and one scale for linear layers. Biases are int32, with the scale of the input times
that of the weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arch.operators import CONVOLUTIONS, Operator
from .lowered_run import LayerWeights

Array = np.ndarray[Any, np.dtype[Any]]

_LEAST_SCALE = 1e-6  # of a tensor that is 0 on all calibration images
_LARGEST_BIAS = 2.0**30
_LEAST_MULTIPLIER = 2.0**-24  # input scale * weight scale / output scale that integer kernels represent


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How a tensor of activations is quantized.

    Attributes:
        scale: Step between two values; exactly representable in fp32.
        zero_point: The int8 value of 0.
    """

    scale: float
    zero_point: int


@dataclass(frozen=True, kw_only=True)
class QuantizedLayer:
    """Quantized weights of a convolution or linear layer.

    Attributes:
        weight: int8, of the shape of the fp32 weight.
        weight_scales: fp32, per output channel or one for all.
        bias: int32, per output channel.
        bias_scales: fp32, as many as weight_scales.
    """

    weight: Array
    weight_scales: Array
    bias: Array
    bias_scales: Array


def quantization(bounds: tuple[float, float]) -> Quantization:
    """Return the quantization whose int8 values cover the range between two bounds, which contains 0."""
    low, high = bounds
    scale = float(np.float32(max((high - low) / 255, _LEAST_SCALE)))
    return Quantization(scale=scale, zero_point=int(np.clip(round(-128 - low / scale), -128, 127)))


def weight_scales(operator: Operator, layer: LayerWeights, quantizations: Mapping[str, Quantization]) -> Array:
    """Return the scales of a layer's int8 weights, fp32: per output channel, or a single scale of a linear layer.

    The scale of a channel whose weights are all about 0 is not chosen by them: its bias must fit into int32, and the
    factor from accumulator to output into what integer kernels represent.
    """
    weight, bias = layer.weight.detach().numpy().astype(np.float64), layer.bias.detach().numpy().astype(np.float64)
    input_scale = quantizations[operator.inputs[0].name].scale
    output_scale = quantizations[operator.name].scale
    largest_weights, largest_biases = np.abs(weight).reshape(len(weight), -1).max(1), np.abs(bias)
    if operator.kind not in CONVOLUTIONS:
        largest_weights, largest_biases = largest_weights.max(keepdims=True), largest_biases.max(keepdims=True)
    scales = np.maximum(largest_weights / 127, largest_biases / (input_scale * _LARGEST_BIAS))
    scales = np.maximum(scales, output_scale / input_scale * _LEAST_MULTIPLIER)
    rounded: Array = scales.astype(np.float32)
    return rounded


def quantize_layer(
    operator: Operator, layer: LayerWeights, quantizations: Mapping[str, Quantization]
) -> QuantizedLayer:
    """Return the quantized weights of a layer."""
    weight, bias = layer.weight.numpy().astype(np.float64), layer.bias.numpy().astype(np.float64)
    scales = weight_scales(operator, layer, quantizations)
    per_weight = np.expand_dims(scales.astype(np.float64), tuple(range(1, weight.ndim)))
    bias_scales = quantizations[operator.inputs[0].name].scale * scales.astype(np.float64)
    return QuantizedLayer(
        weight=np.clip(np.round(weight / per_weight), -127, 127).astype(np.int8),
        weight_scales=scales,
        bias=np.round(bias / bias_scales).astype(np.int32),
        bias_scales=bias_scales.astype(np.float32),
    )
