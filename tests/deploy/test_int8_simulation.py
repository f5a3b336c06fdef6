import numpy as np
import pytest
import torch

from helpers import images_for, model_of
from tinynas.arch.lowering import lower
from tinynas.deploy.calibration import calibrate
from tinynas.deploy.int8_simulation import FakeQuantization, round_weights, run_int8
from tinynas.deploy.lowered_run import layer_weights
from tinynas.deploy.quantization import Quantization, quantize_layer
from tinynas.deploy.runtimes import LiteRT
from tinynas.models.network import fold


def test_simulation_computes_what_the_reference_kernels_do(any_space, rng):
    """Integer kernels round sums, products and hard swish in fixed point: a step apart now and then."""
    pytest.importorskip("ai_edge_litert", reason="the extra tflite is not installed")
    from tinynas.deploy.tflite_writer import write_tflite

    for _ in range(3):
        arch = any_space.sample(rng)
        network, images = lower(arch), images_for(arch, 20)
        weights = layer_weights(network, fold(model_of(arch).net))
        quantizations = calibrate(network, weights, images).quantizations
        litert = LiteRT(write_tflite(network, weights, quantizations), reference=True)
        simulated = run_int8(network, weights, quantizations, images)
        differences, outputs = [], []
        for number, image in enumerate(litert.quantized(images)):
            for values, tensor in zip(litert.run([image[None]]), network.outputs, strict=True):
                expected = simulated[tensor.name][number].numpy()
                expected = expected.transpose(1, 2, 0) if expected.ndim == 3 else expected
                parameters = quantizations[tensor.name]
                in_litert = parameters.scale * (values[0].astype(np.float32) - parameters.zero_point)
                differences.append((in_litert - expected).ravel())
                outputs.append(expected.ravel())
        error = np.linalg.norm(np.concatenate(differences)) / np.linalg.norm(np.concatenate(outputs))
        assert error < 0.02


def test_rounded_weights_are_those_of_the_file(any_space):
    network = lower(any_space.min())
    weights = layer_weights(network, fold(model_of(any_space.min()).net))
    quantizations = calibrate(network, weights, images_for(any_space.min(), 4)).quantizations
    rounded = round_weights(network, weights, quantizations)
    for operator in network.operators:
        if operator.layer:
            quantized = quantize_layer(operator, weights[operator.name], quantizations)
            shape = (-1,) + (1,) * (quantized.weight.ndim - 1)
            expected = quantized.weight * quantized.weight_scales.reshape(shape)
            np.testing.assert_allclose(rounded[operator.name].weight, expected, rtol=1e-6, atol=1e-9)


def test_gradients_pass_through_rounding_and_stop_at_clipping():
    fake = FakeQuantization({"x": Quantization(scale=0.5, zero_point=0)})
    x = torch.tensor([0.3, -1.1, 70.0, -70.0], requires_grad=True)
    y = fake("x", x)
    y.sum().backward()
    torch.testing.assert_close(y.detach(), torch.tensor([0.5, -1.0, 63.5, -64.0]))
    torch.testing.assert_close(x.grad, torch.tensor([1.0, 1.0, 0.0, 0.0]))
