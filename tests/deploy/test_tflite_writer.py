"""Files that the writer makes, against programs of others: PyTorch, LiteRT's reference kernels and TFLM."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from kinds import rectangular_space_of, space_of, tflite_kinds, tflite_spaces
from sklearn.datasets import load_sample_images
from torch.nn.functional import interpolate

from helpers import DETECTORS, SMALL, images_for, model_of, slow_except
from tinynas import SearchSpace, load_arch, load_space
from tinynas.arch.arch import Arch
from tinynas.arch.arena import arena
from tinynas.arch.blocks import Stem
from tinynas.arch.file_size import tflite_bytes
from tinynas.arch.heads import Head
from tinynas.arch.lowering import lower
from tinynas.arch.zoo import shipped_networks
from tinynas.blocks.inverted_residual import InvertedResidual
from tinynas.deploy.calibration import calibrate
from tinynas.deploy.lowered_run import layer_weights, run_lowered
from tinynas.models.network import fold
from tinynas.utils.errors import InputError
from tinynas.utils.sizes import pair

pytest.importorskip("ai_edge_litert", reason="the extra tflite is not installed")
pytest.importorskip("flatbuffers", reason="the extra tflite is not installed")

from ai_edge_litert import schema_py_generated as schema

from tinynas.deploy.runtimes import LiteRT, NetworkRunner, TfliteMicro
from tinynas.deploy.tflite_writer import write_tflite
from tinynas.deploy.tflm_operators import largest_operator_step

PHOTOGRAPHS = load_sample_images().images  # of a temple and of a flower


def photographs(arch, count=4):
    """Squares of two photographs (N, C, H, W), in 0..1 less a half."""
    squares = []
    for number in range(count):
        pixels = torch.from_numpy(PHOTOGRAPHS[number % 2].copy()).permute(2, 0, 1)[None] / 255 - 0.5
        left = 40 * number
        square = pixels[:, :, :400, left : left + 400]
        size = pair(arch.resolution)
        squares.append(interpolate(square, size, mode="bilinear", antialias=True))
    return torch.cat(squares)[:, : arch.in_channels].contiguous()


class Written:
    """An arch's network with fresh weights, and its int8 file."""

    def __init__(self, arch, images):
        self.model = model_of(arch)
        self.network = lower(arch)
        self.weights = layer_weights(self.network, fold(self.model.net))
        self.int8 = write_tflite(
            self.network, self.weights, calibrate(self.network, self.weights, images).quantizations
        )

    def check_fp32(self, images):
        content = write_tflite(self.network, self.weights)
        with torch.no_grad():
            expected = self.model.net(images)
        torch.testing.assert_close(NetworkRunner(content)(images), expected, atol=1e-4, rtol=1e-4)

    def check_int8(self, images):
        """TFLM's outputs, or each operator's, are the reference kernels' within a step; its arena is as counted."""
        pytest.importorskip("tflite_micro", reason="the extra mcu is not installed")
        reference, micro = LiteRT(self.int8, reference=True), TfliteMicro(self.int8)
        with torch.no_grad():
            float_outputs = run_lowered(self.network, self.weights, images)
        for number, image in enumerate(reference.quantized(images)):
            expected = reference.run([image[None]])
            for values, other in zip(expected, micro.run([image[None]]), strict=True):
                step = np.abs(values.astype(int) - other.astype(int)).max()
                assert step <= 1 or largest_operator_step(self.int8, [image[None]]) <= 1
            for values, output in zip(reference.dequantized(expected), self.network.outputs, strict=True):
                of_image = float_outputs[output.name][number].numpy()
                of_image = of_image.transpose(1, 2, 0) if of_image.ndim == 3 else of_image
                error = np.linalg.norm(values[0] - of_image)
                assert error < 0.2 * np.linalg.norm(of_image)
        predicted = arena(self.network, bits=64)
        assert micro.arena_bytes() == (predicted.head, predicted.tail)


def check(arch):
    images = torch.cat([images_for(arch, 2), photographs(arch, 2)])
    written = Written(arch, images)
    assert abs(tflite_bytes(written.network) - len(written.int8)) <= max(0.01 * len(written.int8), 192)
    written.check_fp32(images)
    written.check_int8(images)


@pytest.mark.parametrize("name", slow_except(shipped_networks(), "mobilenet-v2-tiny"))
def test_files_of_published_networks(name):
    check(load_arch(name))


@pytest.mark.parametrize("resolution", [48, 65, 96, 97, 127])
@pytest.mark.slow
def test_files_of_published_networks_at_other_resolutions(resolution):
    for name in shipped_networks():
        check(replace(load_arch(name), resolution=resolution))


@pytest.mark.parametrize("name", tflite_spaces())
def test_files_of_a_shipped_space(name):
    space = load_space(name)
    check(space.min())
    check(space.sample(np.random.default_rng(0)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", tflite_spaces())
def test_files_of_many_archs_of_a_shipped_space(name, seed):
    check(load_space(name).sample(np.random.default_rng(1 + seed)))


@pytest.mark.slow
@pytest.mark.parametrize("name", tflite_spaces())
def test_files_of_the_largest_arch_of_a_shipped_space(name):
    check(load_space(name).max())


@pytest.mark.parametrize("plain", [SMALL, DETECTORS], ids=["classify", "detect"])
def test_files_of_every_kind_of_choice(plain, rng):
    space = SearchSpace.from_dict(plain)
    for arch in [space.min(), space.max(), *(space.sample(rng) for _ in range(6))]:
        check(arch)


@pytest.mark.parametrize("kind", tflite_kinds())
def test_files_of_every_kind_of_block(kind, rng):
    check(space_of(kind, padding="same").max())
    check(space_of(kind).sample(rng))
    check(replace(rectangular_space_of(kind).max(), padding="same"))


@pytest.mark.slow
@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("kind", tflite_kinds())
def test_files_of_many_archs_of_every_kind_of_block(kind, padding, rng):
    space = space_of(kind, padding=padding)
    for arch in [space.min(), *(space.sample(rng) for _ in range(6))]:
        check(arch)
    space = replace(rectangular_space_of(kind), padding=padding)
    for arch in [space.min(), *(space.sample(rng) for _ in range(6))]:
        check(arch)


def test_files_of_transformers_are_refused():
    arch = space_of("vit").min()
    with pytest.raises(InputError, match="a TFLite file cannot have BATCH_MATMUL, GELU, LAYER_NORM, SOFTMAX, as this"):
        write_tflite(lower(arch), {})


@pytest.mark.parametrize("resolution", [40, 48, 56, 80])
def test_files_of_detectors_whose_coarse_map_is_cropped(detectors, resolution):
    check(replace(detectors.max(), resolution=resolution))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("resolution", [7, 8, 9])
def test_files_of_every_kernel_and_stride(kernel, stride, resolution):
    block = InvertedResidual(out=6, kernel=kernel, stride=stride, mid=8, se=4, act="hswish")
    stem = Stem(out=4, kernel=kernel, stride=stride, act="relu")
    head = Head(conv=8, hidden=8, act="hswish")
    check(Arch(resolution=resolution, classes=5, stem=stem, stages=((block,), (block,)), head=head))


def test_files_of_mcu_on_96x160():
    check(replace(load_space("mcu").min(), resolution=(96, 160)))


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("stride", [(1, 2), (2, 1), (3, 2)])
@pytest.mark.parametrize("kernel", [(1, 3), (5, 1), (3, 5)])
def test_files_of_kernels_and_strides_that_are_not_square(kernel, stride, padding):
    block = InvertedResidual(out=6, kernel=kernel, stride=stride, mid=8)
    stem = Stem(out=4, kernel=kernel, stride=stride)
    for resolution in ((8, 13), (11, 6)):
        check(Arch(resolution=resolution, classes=5, stem=stem, stages=((block,), (block,)), padding=padding))


@pytest.mark.parametrize("name", tflite_spaces())
def test_files_of_a_shipped_space_with_other_padding(name):
    space = load_space(name)
    other = {"same": "symmetric", "symmetric": "same"}[space.padding]
    check(replace(space, padding=other).sample(np.random.default_rng(0)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", tflite_spaces())
def test_files_of_archs_with_padding_same(name, seed):
    rng = np.random.default_rng(1 + seed)
    arch = load_space(name).sample(rng)
    check(replace(arch, padding="same", resolution=arch.resolution + int(rng.integers(4))))


@pytest.mark.parametrize("plain", [SMALL, DETECTORS], ids=["classify", "detect"])
def test_files_of_every_kind_of_choice_with_padding_same(plain, rng):
    space = SearchSpace.from_dict({**plain, "padding": "same"})
    for arch in [space.min(), space.max(), *(space.sample(rng) for _ in range(4))]:
        check(arch)


@pytest.mark.parametrize("resolution", [40, 48, 56, 65, 80])
def test_files_of_detectors_with_padding_same(detectors, resolution):
    check(replace(detectors.max(), resolution=resolution, padding="same"))


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("resolution", [7, 8, 9])
def test_files_of_every_kernel_and_stride_with_padding_same(kernel, stride, resolution):
    block = InvertedResidual(out=6, kernel=kernel, stride=stride, mid=8)
    stem = Stem(out=4, kernel=kernel, stride=stride)
    check(Arch(resolution=resolution, classes=5, stem=stem, stages=((block,), (block,)), padding="same"))


def test_kernels_of_padding_same_have_no_zeros():
    arch = load_space("mcu").min()
    graph = parsed(Written(arch, images_for(arch, 2)).int8).subgraphs[0]
    stem = graph.tensors[graph.operators[0].inputs[1]]
    assert stem.shape.tolist() == [16, 3, 3, 3]
    symmetric = replace(arch, padding="symmetric")
    graph = parsed(Written(symmetric, images_for(arch, 2)).int8).subgraphs[0]
    stem = graph.tensors[graph.operators[0].inputs[1]]
    assert stem.shape.tolist() == [16, 4, 4, 3]


def parsed(content):
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def test_constants_lie_inside_the_file_aligned_to_16_bytes(space):
    content = Written(space.max(), images_for(space.max(), 2)).int8
    model = schema.Model.GetRootAs(content, 0)
    sizes = []
    for number in range(1, model.BuffersLength()):
        buffer = model.Buffers(number)
        assert buffer.Offset() == 0
        sizes.append(buffer.DataLength())
        start = buffer._tab.Vector(buffer._tab.Offset(4))
        assert start % 16 == 0
    network = lower(space.max())
    weights = sum(operator.num_stored_weights + 4 * operator.num_biases for operator in network.operators)
    plan = 4 * (3 + model.Subgraphs(0).TensorsLength())
    assert sum(sizes) == weights + plan + 8  # 8 B: the axes of MEAN


def test_no_operators_but_the_lowered_ones(detectors):
    network = lower(detectors.max())
    model = parsed(Written(detectors.max(), images_for(detectors.max(), 2)).int8)
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    kinds = [names[model.operatorCodes[o.opcodeIndex].builtinCode] for o in model.subgraphs[0].operators]
    assert kinds == [operator.kind for operator in network.operators]


def test_weights_have_a_scale_per_channel_in_convolutions_only(space):
    arch = space.max()
    model = parsed(Written(arch, images_for(arch, 2)).int8)
    graph = model.subgraphs[0]
    for operator, written in zip(lower(arch).operators, graph.operators, strict=True):
        if operator.layer:
            weight, bias = (graph.tensors[number] for number in written.inputs[1:])
            scales = operator.output.channels if operator.kind != "FULLY_CONNECTED" else 1
            assert len(weight.quantization.scale) == len(bias.quantization.scale) == scales
            assert weight.shape[weight.quantization.quantizedDimension] in (operator.output.channels, scales)
            input_scale = graph.tensors[written.inputs[0]].quantization.scale[0]
            np.testing.assert_allclose(bias.quantization.scale, input_scale * weight.quantization.scale, rtol=1e-6)


def test_channels_without_weights_keep_their_bias(space):
    """Whatever the scale of the other channels and of the output."""
    arch = space.min()
    images = images_for(arch, 4)
    model = model_of(arch)
    with torch.no_grad():
        norm = model.net.stages[0][0].project.norm
        norm.weight[0], norm.bias[0] = 0.0, 3.0
    network = lower(arch)
    weights = layer_weights(network, fold(model.net))
    content = write_tflite(network, weights, calibrate(network, weights, images).quantizations)
    with torch.no_grad():
        expected = model.net(images)
    outputs = NetworkRunner(content)(images)
    assert (outputs - expected).norm() < 0.1 * expected.norm()


def test_equal_zero_points_are_written_once(space):
    """They take 8 B per channel, of every weight and every bias."""
    content = Written(space.max(), images_for(space.max(), 2)).int8
    graph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
    places = {}  # of vectors of zeros, by length
    for number in range(graph.TensorsLength()):
        quantization = graph.Tensors(number).Quantization()
        if quantization is not None and quantization.ZeroPointLength() > 1:
            table = quantization._tab
            places.setdefault(quantization.ZeroPointLength(), set()).add(table.Vector(table.Offset(10)))
            assert not quantization.ZeroPointAsNumpy().any()
    assert len(places) > 2
    assert all(len(offsets) == 1 for offsets in places.values())
