import numpy as np
import pytest
import torch

from tinynas.arch.lowering import lower
from tinynas.deploy.lowered_run import LayerWeights
from tinynas.deploy.quantization import Quantization, quantization, quantize_layer


@pytest.mark.parametrize("bounds", [(-1.0, 2.0), (0.0, 6.0), (-3.0, 0.0), (-1e-3, 7.0)])
def test_int8_values_cover_the_range(bounds):
    parameters = quantization(bounds)
    low = parameters.scale * (-128 - parameters.zero_point)
    high = parameters.scale * (127 - parameters.zero_point)
    assert (low, high) == pytest.approx(bounds, abs=0.51 * parameters.scale)
    assert parameters.scale == pytest.approx((bounds[1] - bounds[0]) / 255)


def stem_layer(space):
    operator = lower(space.min()).operators[0]
    outputs = operator.output.channels
    weight = torch.linspace(-1, 1, operator.num_weights).reshape(outputs, 1, 3, 3)
    return operator, LayerWeights(weight=weight, bias=torch.linspace(-3, 5, outputs))


def test_quantized_weights_and_biases_are_the_nearest(space):
    operator, layer = stem_layer(space)
    quantizations = {"images": Quantization(scale=0.1, zero_point=3), "stem": Quantization(scale=0.2, zero_point=0)}
    quantized = quantize_layer(operator, layer, quantizations)
    scales = quantized.weight_scales.astype(np.float64)
    back = quantized.weight * scales[:, None, None, None]
    assert np.abs(quantized.weight).reshape(len(scales), -1).max(1).tolist() == [127] * len(scales)
    assert np.all(np.abs(back - layer.weight.numpy()) <= 0.501 * scales[:, None, None, None])
    assert np.abs(quantized.bias * quantized.bias_scales - layer.bias.numpy()).max() < 1e-3


def test_bias_of_a_channel_without_weights_fits_into_int32(space):
    operator, layer = stem_layer(space)
    layer.weight[0] = 1e-12
    quantizations = {"images": Quantization(scale=1e-3, zero_point=0), "stem": Quantization(scale=1e-3, zero_point=0)}
    quantized = quantize_layer(operator, layer, quantizations)
    assert quantized.bias[0] * quantized.bias_scales[0] == pytest.approx(-3, rel=1e-5)
    assert quantized.weight_scales[0] * 1e-3 / 1e-3 >= 2**-24
