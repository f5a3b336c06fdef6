import numpy as np
import pytest
import torch

from helpers import images_for, model_of
from tinynas.arch.lowering import lower
from tinynas.deploy.lowered_run import LayerWeights, layer_weights, run_lowered
from tinynas.deploy.quantization import Quantization, calibrate, quantize_layer
from tinynas.models.network import fold


def test_lowered_network_computes_what_the_network_does(any_space, rng):
    for _ in range(5):
        arch = any_space.sample(rng)
        net, network, images = model_of(arch).net, lower(arch), images_for(arch, 3)
        outputs = [run_lowered(network, layer_weights(network, fold(net)), images)[o.name] for o in network.outputs]
        with torch.no_grad():
            expected = net(images)
        if arch.task == "detect":
            size = (3, arch.detector.per_cell, 5 + arch.classes)
            outputs = [maps.reshape(*size, *maps.shape[2:]).permute(0, 1, 3, 4, 2).flatten(1, 3) for maps in outputs]
        torch.testing.assert_close(torch.cat(outputs, 1), expected, atol=1e-5, rtol=1e-4)


def test_ranges_cover_all_images_and_zero(space):
    arch = space.max()
    network, images = lower(arch), images_for(arch, 20)
    weights = layer_weights(network, fold(model_of(arch).net))
    values, quantizations = run_lowered(network, weights, images), calibrate(network, weights, images)
    assert set(quantizations) == set(values)
    for name, quantization in quantizations.items():
        low = quantization.scale * (-128 - quantization.zero_point)
        high = quantization.scale * (127 - quantization.zero_point)
        step = 1.01 * quantization.scale
        assert low <= 0 <= high
        assert low == pytest.approx(min(values[name].min().item(), 0), abs=step), name
        assert high == pytest.approx(max(values[name].max().item(), 0), abs=step), name


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
