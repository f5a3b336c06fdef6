import numpy as np
import onnx
import pytest
import torch

from helpers import DETECTORS, SMALL, images_for, model_of
from tinynas import SearchSpace, load_arch
from tinynas.arch.lowering import lower
from tinynas.deploy.lowered_run import layer_weights, run_lowered
from tinynas.deploy.onnx import create_session
from tinynas.deploy.onnx_graph import to_onnx_graph
from tinynas.models.network import fold


def check(arch):
    """onnxruntime computes the outputs of the lowered network, which test_tflite_writer.py holds against PyTorch."""
    network, images = lower(arch), images_for(arch, 1)
    weights = layer_weights(network, fold(model_of(arch).net))
    proto = to_onnx_graph(network, weights)
    onnx.checker.check_model(proto, full_check=True)
    outputs = create_session(proto.SerializeToString()).run(None, {"images": images.numpy()})
    with torch.no_grad():
        expected = run_lowered(network, weights, images)
    for output, tensor in zip(outputs, network.outputs, strict=True):
        np.testing.assert_allclose(output, expected[tensor.name].numpy(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("plain", [SMALL, DETECTORS], ids=["classify", "detect"])
@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_graph_computes_what_the_network_does(plain, padding, rng):
    space = SearchSpace.from_dict(plain | {"padding": padding})
    for arch in [space.min(), space.max(), *(space.sample(rng) for _ in range(4))]:
        check(arch)


@pytest.mark.parametrize("name", ["mcunet-in3", "mobilenet-v3-large-w0.35"])
def test_graph_of_a_published_network(name):
    check(load_arch(name))


def test_graph_of_a_shipped_space(shipped_space):
    check(shipped_space.sample(np.random.default_rng(0)))
