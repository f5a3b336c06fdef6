from dataclasses import replace
from itertools import product

import pytest
import torch

from helpers import DETECTORS, images_for, sampled
from tinynas import SearchSpace, augment, build, load_arch
from tinynas.arch.genes import every_outcome
from tinynas.arch.layers import Layer, layers_of, layers_of_space
from tinynas.arch.lowering import lower
from tinynas.arch.zoo import shipped_networks

ACTIVATIONS = {torch.nn.ReLU: "relu", torch.nn.ReLU6: "relu6", torch.nn.Hardswish: "hswish"}


def traced_layers(arch):
    """Convolutions and linear layers of the network that torch runs, without their activations, in order.

    Kernels have a row and a column more where TensorFlow Lite pads otherwise: a stride of 2 on an even size.
    """
    layers = []

    def record(module, inputs, output):
        if isinstance(module, torch.nn.Linear):
            kind = "FULLY_CONNECTED" if module is net.head.classifier else "CONV_2D"
            layers.append(Layer(kind, 1, module.in_features, 1, module.out_features))
            return
        kind = "DEPTHWISE_CONV_2D" if module.groups > 1 else "CONV_2D"
        size, kernel, stride = inputs[0].shape[-1], module.kernel_size[0], module.stride[0]
        extended = arch.padding == "symmetric" and kernel > 1 and (stride, size % 2) == (2, 0)
        sizes = (size, module.in_channels, output.shape[-1], module.out_channels)
        layers.append(Layer(kind, *sizes, kernel + extended, stride))

    net = build(arch).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(record)
    with torch.no_grad():
        net(images_for(arch))
    return layers


def without_activation(layers):
    """Layers with weights, without their activations, sorted, as heads may run them in another order."""
    return sorted([layer._replace(act="") for layer in layers if layer.weights])


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("number", range(4))
def test_layers_of_an_arch_are_those_that_torch_runs(any_space, number, padding):
    arch = replace(sampled(any_space, number), padding=padding)
    assert without_activation(layers_of(arch)) == without_activation(traced_layers(arch))


@pytest.mark.parametrize("name", shipped_networks())
def test_layers_of_published_networks_are_those_that_torch_runs(name):
    arch = load_arch(name)
    assert without_activation(layers_of(arch)) == without_activation(traced_layers(arch))


def test_layers_of_an_arch_are_the_operators_of_its_file(shipped_space, rng):
    for _ in range(10):
        arch = shipped_space.sample(rng)
        network = lower(arch)
        layers = layers_of(arch)
        assert [layer.kind for layer in layers] == [operator.kind for operator in network.operators]
        assert sum(layer.macs for layer in layers) == network.executed_macs
        assert sum(layer.weights for layer in layers) == sum(o.num_stored_weights for o in network.operators)


def test_layers_have_the_activations_that_follow_them():
    """Hard swish is an operator, and relu6 a part of the gate's convolution."""
    arch = load_arch("mobilenet-v3-large-w0.35")
    net = build(arch)
    count = dict.fromkeys(ACTIVATIONS.values(), 0)
    for module in net.modules():
        if type(module) in ACTIVATIONS:
            count[ACTIVATIONS[type(module)]] += 1
    squeezed = sum(block.se > 0 for stage in arch.stages for block in stage)
    assert count["relu6"] == 0 < squeezed
    layers = layers_of(arch)
    acts = [layer.act for layer in layers]
    assert acts.count("relu") == count["relu"] + squeezed
    assert acts.count("relu6") == squeezed
    assert [layer.kind for layer in layers].count("HARD_SWISH") == count["hswish"] > 0


def test_layers_of_a_block_with_squeeze_excite_and_shortcut():
    plain = {
        "resolution": 9,
        "divisor": 4,
        "se_floor": 4,
        "classes": 5,
        "stem": {"width": 4, "stride": 2, "act": "relu"},
        "stages": [{"width": 4, "kernel": 3, "depth": 2, "expand": 2, "se": 2, "act": "hswish"}],
    }
    block = [
        Layer("CONV_2D", 5, 4, 5, 8),
        Layer("HARD_SWISH", 5, 8, 5, 8),
        Layer("DEPTHWISE_CONV_2D", 5, 8, 5, 8, 3),
        Layer("HARD_SWISH", 5, 8, 5, 8),
        Layer("MEAN", 5, 8, 1, 8),
        Layer("CONV_2D", 1, 8, 1, 4, act="relu"),
        Layer("CONV_2D", 1, 4, 1, 8, act="relu6"),
        Layer("MUL", 5, 8, 5, 8),
        Layer("CONV_2D", 5, 8, 5, 4),
    ]
    assert layers_of(SearchSpace.from_dict(plain).min()) == [
        Layer("CONV_2D", 9, 3, 5, 4, 3, 2, "relu"),
        *block,
        *block,
        Layer("ADD", 5, 4, 5, 4),
        Layer("MEAN", 5, 4, 1, 4),
        Layer("FULLY_CONNECTED", 1, 4, 1, 5),
    ]


def test_layers_of_a_detector_resize_straight_to_the_finer_map(detectors):
    arch = replace(detectors.min(), resolution=72)  # 5x5 pixels at stride 16, 3x3 at stride 32
    layers = layers_of(arch)
    assert Layer("RESIZE_NEAREST_NEIGHBOR", 3, 8, 5, 8) in layers
    assert Layer("ADD", 5, 8, 5, 8) in layers
    assert layers.count(Layer("CONV_2D", 3, 8, 3, 4)) == layers.count(Layer("CONV_2D", 5, 8, 5, 4)) == 1
    assert layers.count(Layer("CONV_2D", 3, 8, 3, 3)) == layers.count(Layer("CONV_2D", 5, 8, 5, 3)) == 1


def test_layers_of_a_space_with_heads_of_different_maps_include_those_of_its_archs(detectors, rng):
    space = replace(detectors, head=replace(detectors.head, levels=(1, 2, 4)))
    listed = set(layers_of_space(space))
    archs = [space.sample(rng) for _ in range(60)]
    assert {arch.head.levels for arch in archs} == {1, 2, 4}
    for arch in archs:
        assert set(layers_of(arch)) <= listed


def test_layers_of_a_shipped_space_include_those_of_its_archs(shipped_space, rng):
    listed = set(layers_of_space(shipped_space))
    for arch in (shipped_space.min(), shipped_space.max(), *(shipped_space.sample(rng) for _ in range(200))):
        assert set(layers_of(arch)) <= listed


def all_archs(space):
    """Every arch of a space."""
    counts = space.genes()
    for indices in product(*map(range, counts.values())):
        yield space.decode(dict(zip(counts, indices, strict=True)))


SMALLER = {
    "classify": {
        "resolution": [8, 11],
        "divisor": 4,
        "stem": {"width": [4, 8], "stride": 1},
        "stages": [
            {"depth": [1, 3], "width": [4, 8], "kernel": 3, "expand": [1, 2], "stride": 2, "se": [0, 4]},
            {"width": 8, "kernel": [3, 5], "act": ["relu", "hswish"], "stride": 2},
        ],
        "head": {"conv": [8, 16], "hidden": [8, 16]},
    },
    "detect": {
        **DETECTORS,
        "stages": [
            {"width": [4, 8], "kernel": 3, "stride": 4},
            {"depth": [1, 2], "width": [8, 12], "kernel": 3, "stride": 2},
            {"width": [8, 16], "kernel": 3, "stride": 2},
        ],
    },
}


SMALLER["not square"] = {
    **SMALLER["classify"],
    "resolution": [[8, 11], [9, 16]],
    "stages": [
        {"depth": [1, 2], "width": [4, 8], "kernel": [3, [5, 3]], "expand": [1, 2], "stride": [2, 1]},
        {"width": 8, "kernel": [[1, 3], 3], "stride": [1, 2]},
    ],
}


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("task", SMALLER)
def test_layers_of_a_space_are_exactly_those_of_all_its_archs(task, padding):
    space = SearchSpace.from_dict({**SMALLER[task], "padding": padding})
    expected = set()
    for arch in all_archs(space):
        expected.update(layers_of(arch))
    listed = layers_of_space(space)
    assert set(listed) == expected
    assert len(listed) == len(expected)
    assert listed == layers_of_space(space)


def test_layers_of_an_augmented_space_include_the_targets_and_wider_ones(rng):
    target = load_arch("mcunet-in3")
    space = augment(target)
    listed = set(layers_of_space(space))
    for arch in (target, space.max(), space.sample(rng)):
        assert set(layers_of(arch)) <= listed


def test_every_outcome_goes_through_choices_that_depend_on_earlier_ones():
    def compose(choose):
        first = choose("first", [1, 2])
        return (first, *(choose("second", ["a", "b", "c"]) for _ in range(first - 1)))

    assert list(every_outcome(compose)) == [(1,), (2, "a"), (2, "b"), (2, "c")]
    assert list(every_outcome(lambda choose: 7)) == [7]
