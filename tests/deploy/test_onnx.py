import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from kinds import tflite_spaces
from onnx import numpy_helper

from helpers import images_for, model_of, sampled, slow_except
from tinynas import cost, load_arch, load_space
from tinynas.arch.zoo import shipped_networks
from tinynas.deploy.exported_file import preprocessing
from tinynas.deploy.onnx import to_onnx
from tinynas.utils.errors import InputError


def check(arch):
    """The fp32 file computes what torch does, norms folded; the int8 file nearly, and holds what flash counts."""
    model, images = model_of(arch), images_for(arch, 4)
    fp32, int8 = to_onnx(model, calibration=[images])
    with torch.no_grad():
        expected = model.net(images)
    torch.testing.assert_close(fp32.run(images), expected, atol=1e-4, rtol=1e-4)
    assert "BatchNormalization" not in {node.op_type for node in onnx.load_from_string(fp32.content).graph.node}
    assert (int8.run(images) - expected).norm() < 0.3 * expected.norm()
    assert flash_of(onnx.load_from_string(int8.content)) == cost(arch).flash


def flash_of(proto):
    """Bytes of the int8 weights, their biases, and the scales of their output channels, in a QDQ file."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    dequantised = {node.output[0]: node.input for node in proto.graph.node if node.op_type == "DequantizeLinear"}
    total = 0
    for node in proto.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            weight, bias = (dequantised[name] for name in node.input[1:3])
            assert values[weight[0]].dtype == np.int8
            assert values[bias[0]].dtype == np.int32
            total += sum(values[name].nbytes for name in (weight[0], weight[1], bias[0]))
    return total


@pytest.mark.parametrize("name", slow_except(tflite_spaces(), "micro"))
def test_to_onnx_exports_every_shipped_space(name):
    space = load_space(name)
    check(space.min())
    check(space.sample(np.random.default_rng(0)))


@pytest.mark.parametrize("name", slow_except(shipped_networks(), "mobilenet-v2-tiny"))
def test_to_onnx_exports_every_published_network(name):
    check(load_arch(name))


def test_to_onnx_exports_padding_same(any_space):
    check(replace(sampled(any_space, 1), padding="same"))


@pytest.mark.parametrize("number", slow_except(range(3), 0))
def test_to_onnx_exports_every_kind_of_choice(any_space, number):
    check(sampled(any_space, number))


def test_to_onnx_exports_the_largest_network(space):
    check(space.max())


@pytest.mark.parametrize(("batch", "images"), [(1, 3), (4, 6), (None, 5)])
def test_to_onnx_files_run_any_number_of_images(space, batch, images):
    model, many = model_of(space.min()), images_for(space.min(), images)
    fp32, int8 = to_onnx(model, batch=batch, calibration=[images_for(space.min(), 8)])
    shape = onnx.load_from_string(fp32.content).graph.input[0].type.tensor_type.shape.dim
    assert (shape[0].dim_value or None) == batch
    with torch.no_grad():
        torch.testing.assert_close(fp32.run(many), model.net(many), atol=1e-5, rtol=1e-4)
    assert int8.run(many).shape == (images, 3)


def test_to_onnx_writes_the_requested_opset(space):
    (file,) = to_onnx(model_of(space.min()), opset=18)
    assert onnx.load_from_string(file.content).opset_import[0].version == 18
    with pytest.raises(InputError, match=r"18 <= opset <= \d+` must hold, but got \(opset=12\)"):
        to_onnx(model_of(space.min()), opset=12)


def test_preprocessing_of_a_detector_stretches_to_its_resolution(detectors):
    settings = preprocessing(model_of(detectors.max()))  # whose data set crops classifiers' images to 7/8
    assert (settings["resize"], settings["stretch"]) == (64, True)


def test_to_onnx_writes_classes_and_preprocessing(space):
    model = model_of(space.min())
    for file in to_onnx(model, calibration=[images_for(space.min(), 4)]):
        about = {prop.key: prop.value for prop in onnx.load_from_string(file.content).metadata_props}
        assert json.loads(about["classes"]) == list(model.classes)
        assert json.loads(about["preprocessing"]) == json.loads(json.dumps(preprocessing(model)))
        assert about["data"] == "small"
