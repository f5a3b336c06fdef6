"""Subnets of supernets of ofa, and networks that it has extracted: the imported network computes the same."""

import json
import random

import pytest
import torch
from config_networks import STAGES, config_of, run, supernet
from safetensors.torch import save_file

from tinynas.arch.cost import cost
from tinynas.models.importers.ofa_networks import import_ofa
from tinynas.utils.errors import FileError, InputError

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
EPS = {"MobileNetV3": 1e-5, "ProxylessNASNets": 1e-3}
BLOCKS = {"MobileNetV3": 10, "ProxylessNASNets": 11}
HIDDEN = 24  # of the MobileNetV3: a bias each, which ofa does not have


def choices_of(kind):
    rng = random.Random(0)
    blocks, stages = BLOCKS[kind], len(STAGES[kind])
    choices = {"ks": rng.choices([3, 5, 7], k=blocks), "e": rng.choices([3, 4, 6], k=blocks)}
    return choices | {"d": rng.choices([1, 2], k=stages)}


def assert_equal_outputs(foreign, expected):
    with torch.no_grad():
        torch.testing.assert_close(foreign.to_network()(IMAGES), expected, atol=1e-4, rtol=1e-4)


@pytest.fixture
def save(tmp_path):
    """A function that saves tensors and a document, and returns the arguments of `import_ofa`."""

    def save(state, document, name="choices.json"):
        torch.save({"state_dict": state, "epoch": 3}, tmp_path / "weights.pth")
        (tmp_path / name).write_text(json.dumps(document))
        return str(tmp_path / "weights.pth"), tmp_path / name

    return save


@pytest.mark.parametrize("matrices", [True, False])
@pytest.mark.parametrize("kind", STAGES)
def test_subnets_have_the_first_channels_and_the_transformed_kernels(kind, matrices, save):
    state, choices = supernet(kind, matrices=matrices), choices_of(kind)
    foreign = import_ofa(*save(state, choices | {"r": [64]}))
    config, numbers = config_of(kind, **choices, eps=EPS[kind])
    assert foreign.arch.resolution == 64
    assert foreign.arch.classes == 5
    assert sum(len(stage) for stage in foreign.arch.stages) == len(numbers)
    assert_equal_outputs(foreign, run(config, state, IMAGES, numbers))


def test_supernet_alone_is_its_largest_subnet(save):
    state = supernet("ProxylessNASNets")
    file, _ = save(state, {})
    config, numbers = config_of("ProxylessNASNets", [7] * 11, [6] * 11, [2] * 6, eps=1e-3)
    foreign = import_ofa(file, resolution=64)
    assert_equal_outputs(foreign, run(config, state, IMAGES, numbers))
    assert import_ofa(file).arch.resolution == 224


def test_numbers_are_choices_of_all_blocks_and_stages(save):
    state = supernet("MobileNetV3")
    foreign = import_ofa(*save(state, {"ks": 5, "e": 4, "d": 1, "wid": None, "image_size": 64}))
    config, numbers = config_of("MobileNetV3", [5] * 10, [4] * 10, [1] * 5, eps=1e-5)
    assert_equal_outputs(foreign, run(config, state, IMAGES, numbers))


def extracted(kind):
    """The config and the tensors of an extracted network, under the names of earlier versions."""
    state = supernet(kind, depth=1, kernel=5, expand=4, matrices=False)
    plain = {}
    for name, tensor in state.items():
        name = name.replace(".bn.bn.", ".bn.").replace(".conv.conv.weight", ".conv.weight")
        plain[name.replace(".conv.", ".mobile_inverted_conv.", 1) if name.startswith("blocks.") else name] = tensor
    blocks, stages = len(STAGES[kind]), [1] * len(STAGES[kind])
    config, _ = config_of(kind, [5] * blocks, [4] * blocks, stages, eps=1e-3, depth=1)
    return config, plain, run(config, state, IMAGES)


@pytest.mark.parametrize("kind", STAGES)
def test_extracted_networks_are_read_with_their_config(kind, save, tmp_path):
    config, state, expected = extracted(kind)
    file, _ = save(state, config, "net.config")
    (tmp_path / "run.config").write_text('{"image_size": 64, "dataset": "imagenet"}')
    foreign = import_ofa(file)
    assert_equal_outputs(foreign, expected)
    assert foreign.arch.resolution == 64
    trained = sum(tensor.numel() for name, tensor in state.items() if "running" not in name and tensor.ndim)
    assert cost(foreign.arch).params == trained + (HIDDEN if kind == "MobileNetV3" else 0)


def test_safetensors_and_wrappers_are_read(tmp_path):
    config, state, expected = extracted("MobileNetV3")
    save_file({f"module.{name}": tensor for name, tensor in state.items()}, tmp_path / "weights.safetensors")
    (tmp_path / "net.config").write_text(json.dumps(config))
    assert_equal_outputs(import_ofa(str(tmp_path / "weights.safetensors"), resolution=64), expected)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"ks": 4}, "no kernels of size 4"),
        ({"ks": 9}, "no kernels of size 9"),
        ({"e": 8}, "e of block 1 is 8"),
        ({"d": 0}, "a stage has a block at least"),
        ({"d": [1, 2]}, "d has 2 values, but the supernet has 5"),
        ({"ks": [3, "x"] * 5}, "a value of ks must be a whole number"),
        ({"w": [0, 1]}, "one width"),
        ({"kernel": 3}, "unknown choice of a subnet 'kernel'"),
        ({"blocks": []}, "the config of an extracted network"),
    ],
)
def test_subnets_that_the_supernet_does_not_have_are_refused(choices, message, save):
    with pytest.raises(InputError, match=message):
        import_ofa(*save(supernet("MobileNetV3"), choices))


def test_networks_of_other_kinds_are_refused_by_name(save):
    with pytest.raises(InputError, match="max pooling"):
        import_ofa(*save({"input_stem.0.conv.weight": torch.zeros(1)}, {}))
    with pytest.raises(InputError, match="several widths"):
        import_ofa(*save({"first_conv.conv.conv.weight": torch.zeros(1)}, {}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "ResNets"}, "kind 'ResNets'"),
        ({"bn": {"eps": 1e-5, "ws_eps": 1e-5}}, "weight standardisation"),
        ({"bn": {"eps": 1e-5, "gn_channel_per_group": 8}}, "group norm"),
        ({"classifier": {"name": "MultiHeadLinearLayer"}}, "linear layer alone"),
    ],
)
def test_parts_that_tinynas_does_not_have_are_refused_by_name(change, message, save):
    config, state, _ = extracted("MobileNetV3")
    with pytest.raises(InputError, match=message):
        import_ofa(*save(state, config | change))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("act_func", "tanh", "activation 'tanh'"),
        ("groups", 2, "2 groups"),
        ("name", "DepthConvLayer", "DepthConvLayer"),
    ],
)
def test_blocks_that_tinynas_does_not_have_are_refused_by_name(key, value, message, save):
    config, state, _ = extracted("MobileNetV3")
    config["blocks"][1]["conv"][key] = value
    with pytest.raises(InputError, match=message):
        import_ofa(*save(state, config))


def test_files_of_different_networks_are_refused(save, tmp_path):
    config, state, _ = extracted("MobileNetV3")
    file, _ = save(state, config)
    with pytest.raises(FileError, match="without its config"):
        import_ofa(file)
    with pytest.raises(FileError, match="belong to no layer"):
        import_ofa(*save(state | {"blocks.9.conv.weight": torch.zeros(1)}, config))
    del state["blocks.2.mobile_inverted_conv.depth_conv.conv.weight"]
    with pytest.raises(FileError, match=r"it lacks 1 \(blocks.2.conv.depth_conv.conv.weight\)"):
        import_ofa(*save(state, config))
    del config["blocks"][0]["conv"]["stride"]
    with pytest.raises(FileError, match="KeyError 'stride'"):
        import_ofa(*save(state, config))
    with pytest.raises(FileError, match="is not the config of a network"):
        import_ofa(*save(state, {"ks": 3}))


SUPERNETS = {"MobileNetV3": "OFAMobileNetV3", "ProxylessNASNets": "OFAProxylessNASNets"}


@pytest.mark.parametrize("kind", SUPERNETS)
def test_subnet_of_the_package_has_the_same_outputs(kind, save):
    networks = pytest.importorskip("ofa.imagenet_classification.elastic_nn.networks")
    torch.manual_seed(0)
    random.seed(0)
    lists = {"ks_list": [3, 5, 7], "expand_ratio_list": [3, 4, 6], "depth_list": [2]}
    whole = getattr(networks, SUPERNETS[kind])(width_mult=0.25, n_classes=5, **lists)
    choices = whole.sample_active_subnet()
    for norm in whole.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = 1.0
    with torch.no_grad():
        whole.train()(IMAGES)
        expected = whole.get_active_subnet().eval()(IMAGES)
    assert_equal_outputs(import_ofa(*save(whole.state_dict(), choices | {"r": [64]})), expected)
