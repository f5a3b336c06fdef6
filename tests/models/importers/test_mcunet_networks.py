"""Networks of mcunet, whose config and weights are side by side."""

import json

import pytest
import torch
from config_networks import config_of, run, supernet

from tinynas.models.importers.mcunet_networks import import_mcunet
from tinynas.utils.errors import FileError

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def saved(tmp_path):
    """A network without a last convolution, saved as mcunet does; its outputs."""
    state = supernet("ProxylessNASNets", depth=1, kernel=7, expand=4, matrices=False)
    for name in list(state):
        if name.startswith("feature_mix_layer."):
            del state[name]
    channels = len(state["blocks.6.conv.point_linear.conv.conv.weight"])
    state["classifier.linear.weight"] = torch.randn(5, channels, generator=torch.Generator().manual_seed(1))
    config, _ = config_of("ProxylessNASNets", [7] * 6, [4] * 6, [1] * 6, eps=1e-3, depth=1)
    config |= {"feature_mix_layer": None, "resolution": 64}
    expected = run(config, state, IMAGES)
    plain = {}
    for name, tensor in state.items():
        name = name.replace(".bn.bn.", ".bn.").replace(".conv.conv.weight", ".conv.weight")
        plain[name.replace(".conv.", ".mobile_inverted_conv.", 1) if name.startswith("blocks.") else name] = tensor
    for entry in config["blocks"]:
        entry["mobile_inverted_conv"] = entry.pop("conv") | {"name": "MBInvertedConvLayer"}
    zero = {"mobile_inverted_conv": {"name": "ZeroLayer", "stride": 1}, "shortcut": {"name": "IdentityLayer"}}
    config["blocks"].append(zero)  # returns its input
    torch.save({"state_dict": plain}, tmp_path / "net.pth")
    (tmp_path / "net.json").write_text(json.dumps(config))
    return tmp_path, expected


@pytest.mark.parametrize("name", ["net.json", "net.pth"])
def test_either_file_names_the_network(name, saved):
    folder, expected = saved
    foreign = import_mcunet(str(folder / name))
    with torch.no_grad():
        torch.testing.assert_close(foreign.to_network()(IMAGES), expected, atol=1e-4, rtol=1e-4)
    assert foreign.arch.head.conv == 0


def test_preprocessing_is_that_of_mcunet(saved):
    folder, _ = saved
    foreign = import_mcunet(str(folder / "net.json"))
    assert foreign.arch.resolution == 64
    assert foreign.preprocessing.normalise.mean == foreign.preprocessing.normalise.std == (0.5, 0.5, 0.5)
    assert foreign.preprocessing.crop == 224 / 256
    (folder / "net_vww.json").write_text((folder / "net.json").read_text())
    assert import_mcunet(str(folder / "net_vww.json"), folder / "net.pth").preprocessing.crop == 1


def test_missing_files_and_sizes_are_named(saved):
    folder, _ = saved
    (folder / "other.json").write_text((folder / "net.json").read_text())
    with pytest.raises(FileError, match=r"there is no .*other.pth, the weights"):
        import_mcunet(str(folder / "other.json"))
    (folder / "net.pth").rename(folder / "alone.pth")
    with pytest.raises(FileError, match=r"there is no .*alone.json, the config"):
        import_mcunet(str(folder / "alone.pth"))
    config = json.loads((folder / "net.json").read_text())
    del config["resolution"]
    (folder / "net.json").write_text(json.dumps(config))
    with pytest.raises(FileError, match="has no resolution"):
        import_mcunet(str(folder / "net.json"), folder / "alone.pth")


def test_network_of_the_package_has_the_same_outputs(tmp_path):
    networks = pytest.importorskip("mcunet.tinynas.nn.networks")
    torch.manual_seed(0)
    module = networks.MobileNetV2(n_classes=5, width_mult=0.35)
    for norm in module.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = 1.0
    with torch.no_grad():
        module.train()(IMAGES)
        expected = module.eval()(IMAGES)
        torch.save({"state_dict": module.state_dict()}, tmp_path / "net.pth")
        (tmp_path / "net.json").write_text(json.dumps({**module.config, "resolution": 64}))
        net = import_mcunet(str(tmp_path / "net.json")).to_network()
        torch.testing.assert_close(net(IMAGES), expected, atol=1e-4, rtol=1e-4)
