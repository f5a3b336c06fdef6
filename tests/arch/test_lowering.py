"""The lowered network against the counts of `cost`, which the networks' modules are held to."""

from collections import Counter
from dataclasses import replace

import pytest

from helpers import slow_except
from tinynas import build, cost, load_arch, load_space
from tinynas.arch.arch import Arch
from tinynas.arch.blocks import Stem
from tinynas.arch.lowering import lower
from tinynas.arch.lowering_steps import Lowering
from tinynas.arch.memory_plan import peak_bytes
from tinynas.arch.operators import CONVOLUTIONS, TensorSpec
from tinynas.arch.zoo import shipped_networks
from tinynas.blocks.inverted_residual import InvertedResidual
from tinynas.utils.errors import InputError


def check_counts(arch):
    network, counts = lower(arch), cost(arch)
    assert sum(operator.macs for operator in network.operators) == counts.macs
    assert sum(operator.num_weights + 8 * operator.num_biases for operator in network.operators) == counts.flash
    return peak_bytes(network), counts.peak_sram


@pytest.mark.parametrize("name", shipped_networks())
def test_lower_counts_what_cost_does_of_published_networks(name):
    peak, counted = check_counts(load_arch(name))
    assert peak == counted


def test_lower_counts_what_cost_does(shipped_space, rng):
    for arch in [shipped_space.min(), shipped_space.max(), *(shipped_space.sample(rng) for _ in range(20))]:
        peak, counted = check_counts(arch)
        assert peak == counted


def test_lower_counts_every_kind_of_layer(any_space, rng):
    for _ in range(40):
        peak, counted = check_counts(any_space.sample(rng))
        assert peak == counted


@pytest.mark.parametrize("resolution", slow_except([32, 40, 48, 80, 112], 48, 112))
def test_lower_needs_at_most_the_counted_memory_where_a_detector_crops(detectors, resolution):
    """`cost` counts the upsampled map before it is cropped; the operator writes the cropped one."""
    arch = replace(detectors.max(), resolution=resolution)
    peak, counted = check_counts(arch)
    assert peak <= counted


def test_lower_names_layers_of_the_network(any_space, rng):
    arch = any_space.sample(rng)
    modules = dict(build(arch).named_modules())
    layers = [operator.layer for operator in lower(arch).operators if operator.layer]
    weights = sum(1 for name in build(arch).state_dict() if name.endswith(".weight") and ".norm." not in name)
    assert len(set(layers)) == len(layers) == weights
    for operator in lower(arch).operators:
        if operator.layer:
            assert operator.num_weights == modules[operator.layer].weight.numel()


def arch_of(block, resolution=9, stem_kernel=3):
    return Arch(
        resolution=resolution,
        in_channels=1,
        classes=2,
        stem=Stem(out=4, kernel=stem_kernel, act="hswish"),
        stages=((block,),),
    )


def test_lower_of_a_small_arch():
    network = lower(arch_of(InvertedResidual(out=4, kernel=5, mid=8, se=2, act="relu", residual=True)))
    rows = [(o.name, o.kind, o.output.shape, o.activation) for o in network.operators]
    assert rows == [
        ("stem", "CONV_2D", (1, 5, 5, 4), ""),
        ("stem.act", "HARD_SWISH", (1, 5, 5, 4), ""),
        ("stages.0.0.expand", "CONV_2D", (1, 5, 5, 8), "relu"),
        ("stages.0.0.depthwise", "DEPTHWISE_CONV_2D", (1, 5, 5, 8), "relu"),
        ("stages.0.0.se.pool", "MEAN", (1, 1, 1, 8), ""),
        ("stages.0.0.se.reduce", "CONV_2D", (1, 1, 1, 2), "relu"),
        ("stages.0.0.se.expand", "CONV_2D", (1, 1, 1, 8), "relu6"),
        ("stages.0.0.se.scale", "MUL", (1, 5, 5, 8), ""),
        ("stages.0.0.project", "CONV_2D", (1, 5, 5, 4), ""),
        ("stages.0.0.add", "ADD", (1, 5, 5, 4), ""),
        ("head.pool", "MEAN", (1, 4), ""),
        ("head.classifier", "FULLY_CONNECTED", (1, 2), ""),
    ]
    assert network.inputs == (TensorSpec(name="images", shape=(1, 9, 9, 1)),)
    assert network.outputs == (network.operators[-1].output,)


def same_padding(operator):
    """The rows that TensorFlow Lite's SAME padding puts before the first, for the extended kernel."""
    paddings = []
    for axis in (0, 1):
        size, out_size = operator.inputs[0].shape[1 + axis], operator.output.shape[1 + axis]
        kernel, stride = operator.kernel[axis] + operator.extension[axis], operator.stride[axis]
        assert out_size == -(-size // stride)
        paddings.append(max((out_size - 1) * stride + kernel - size, 0) // 2)
    return paddings


def convolutions(arch):
    return [operator for operator in lower(arch).operators if operator.kind in CONVOLUTIONS]


@pytest.mark.parametrize("stride", [1, 2, 3, 4, (1, 2), (3, 1)])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7, (1, 5), (7, 3)])
def test_extension_makes_same_padding_that_of_torch(kernel, stride):
    for resolution in (*range(1, 20), (5, 8), (8, 6), (1, 9)):
        arch = arch_of(InvertedResidual(out=4, kernel=kernel, stride=stride), resolution, kernel)
        for operator in convolutions(arch):
            before = [padding[0] for padding in operator.padding]
            assert same_padding(operator) == before == [side // 2 for side in operator.kernel]
        for operator in convolutions(replace(arch, padding="same")):
            before, after = zip(*operator.padding, strict=True)
            zeros = operator.extension  # before the kernel's first row and column
            assert same_padding(operator) == [side + added for side, added in zip(before, zeros, strict=True)]
            assert list(after) == [side // 2 for side in operator.kernel]


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_padding_same_needs_no_extension(kernel):
    for resolution in range(1, 20):
        arch = arch_of(InvertedResidual(out=4, kernel=kernel, stride=2), resolution, kernel)
        network = lower(replace(arch, padding="same"))
        assert network.executed_macs == sum(operator.macs for operator in network.operators) == cost(arch).macs


def test_shipped_spaces_of_padding_same_execute_what_is_counted(rng):
    space = load_space("mcu")
    for arch in (space.min(), space.max(), *(space.sample(rng) for _ in range(20))):
        assert lower(arch).executed_macs == cost(arch).macs


def test_extension_is_counted_in_executed_macs_only():
    even, odd = (lower(arch_of(InvertedResidual(out=4, kernel=3), resolution)).operators[0] for resolution in (8, 9))
    assert (even.extension, odd.extension) == ((1, 1), (0, 0))
    assert (even.macs, even.executed_macs) == (4 * 4 * 4 * 9, 4 * 4 * 4 * 16)
    assert odd.executed_macs == odd.macs == 5 * 5 * 4 * 9
    assert (even.num_weights, even.num_stored_weights) == (36, 64)


def test_lower_of_a_detector_has_two_outputs_for_each_map(detectors):
    arch = replace(detectors.max(), resolution=48)
    network = lower(arch)
    shapes = [(1, side, side, channels) for side in (2, 3, 6) for channels in (4, arch.classes)]
    assert [output.shape for output in network.outputs] == shapes
    kinds = Counter(operator.kind for operator in network.operators)
    assert kinds["RESIZE_NEAREST_NEIGHBOR"] == 2
    assert kinds["MUL"] == kinds["MEAN"]  # of squeeze-excite only


def test_lowering_refuses_activations_that_it_does_not_know_or_cannot_fuse():
    lowering, x = Lowering(turned=False), TensorSpec(name="images", shape=(1, 8, 8, 4))
    with pytest.raises(InputError, match="unknown activation in act 'swish'; did you mean 'hswish'"):
        lowering.sum(x, x, "sum", act="swish")
    with pytest.raises(InputError, match="unknown activation in act 'hswish'; known: relu, relu6"):
        lowering.conv(x, "conv", 4, layer="conv", activation="hswish")
