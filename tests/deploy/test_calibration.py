from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from helpers import TINY, images_for, model_of
from tinynas.arch.lowering import lower
from tinynas.blocks.inverted_residual import InvertedResidual
from tinynas.deploy.calibration import calibrate, output_error, quantize_by
from tinynas.deploy.histograms import CRITERIA, collect_histograms, min_max
from tinynas.deploy.int8_simulation import run_int8
from tinynas.deploy.lowered_run import layer_weights, run_lowered
from tinynas.deploy.quantization import quantization
from tinynas.models.network import fold


def network_of(arch):
    """Return the lowered network of an arch with fresh weights, and the weights."""
    network = lower(arch)
    return network, layer_weights(network, fold(model_of(arch).net))


def test_calibration_is_deterministic(space):
    network, weights = network_of(space.max())
    images = images_for(space.max(), 12)
    first, second = calibrate(network, weights, images), calibrate(network, weights, images)
    assert (first.quantizations, first.criterion, first.error) == (second.quantizations, second.criterion, second.error)


def test_the_criterion_with_the_least_error_is_used(space):
    network, weights = network_of(space.max())
    images = images_for(space.max(), 12)
    histograms, errors = collect_histograms(network, weights, images), {}
    for criterion in CRITERIA:
        quantizations = quantize_by(criterion, network, histograms)
        errors[criterion] = output_error(network, weights, weights, quantizations, images)
    int8 = calibrate(network, weights, images)
    assert (int8.error, int8.criterion) == min((error, criterion) for criterion, error in errors.items())


def test_error_is_relative_to_the_outputs(space):
    network, weights = network_of(space.min())
    images = images_for(space.min(), 20)
    quantizations = calibrate(network, weights, images).quantizations
    with torch.no_grad():
        expected = run_lowered(network, weights, images)[network.outputs[0].name]
        values = run_int8(network, weights, quantizations, images)[network.outputs[0].name]
    error = (values - expected).norm() / expected.norm()
    assert output_error(network, weights, weights, quantizations, images) == pytest.approx(error.item(), rel=1e-4)


def test_inputs_and_outputs_are_never_clipped(detectors):
    network, weights = network_of(detectors.max())
    images = images_for(detectors.max(), 12)
    images[0, 0, 0, 0] = 500.0
    histograms = collect_histograms(network, weights, images)
    calibration = calibrate(network, weights, images)
    for tensor in network.inputs + network.outputs:
        assert calibration.quantizations[tensor.name] == quantization(min_max(histograms[tensor.name])), tensor.name


def test_resized_maps_keep_their_scale(detectors):
    network, weights = network_of(detectors.max())
    quantizations = calibrate(network, weights, images_for(detectors.max(), 12)).quantizations
    resized = [operator for operator in network.operators if operator.kind == "RESIZE_NEAREST_NEIGHBOR"]
    assert resized
    for operator in resized:
        assert quantizations[operator.name] == quantizations[operator.inputs[0].name]


def with_rare_activation(size):
    """Return a network, its weights and images, with a value of `size` times the others' that nothing depends on.

    A channel of the expansion is active in a single pixel of all images, and the depthwise convolution ignores it.
    """
    block = InvertedResidual(out=4, kernel=3, mid=8, act="relu")
    arch = replace(TINY, resolution=32, stages=((block,),))
    network, weights = network_of(arch)
    images = images_for(arch, 64)
    expand, depthwise = network.operators[1], network.operators[2]
    with torch.no_grad():
        values = run_lowered(network, weights, images)
    layer, inputs = weights[expand.name], values[expand.inputs[0].name]
    first, second = functional.conv2d(inputs, layer.weight, layer.bias)[:, 0].flatten().topk(2).values
    factor = size * values[expand.name][:, 1:].max() / (first - second)
    layer.bias[0] = factor * (layer.bias[0] - second)
    layer.weight[0] *= factor
    weights[depthwise.name].weight[0] = 0.0
    return network, weights, images


def test_criteria_clip_a_rare_value_that_ruins_min_max():
    network, weights, images = with_rare_activation(300)
    calibration = calibrate(network, weights, images)
    assert calibration.criterion != "min-max"
    extremes = quantize_by("min-max", network, collect_histograms(network, weights, images))
    assert calibration.error < 0.2 * output_error(network, weights, weights, extremes, images)
