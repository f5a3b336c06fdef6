"""Networks of timm with random weights and statistics: the imported network computes the same, and costs the same."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tinynas.arch.cost import cost
from tinynas.models.importers.timm_networks import import_timm
from tinynas.models.profile import recount
from tinynas.utils.errors import FileError, InputError

timm = pytest.importorskip("timm")
IMPORTED = [
    "mobilenetv1_100",
    "mobilenetv2_035",
    "mobilenetv3_small_050",
    "tf_mobilenetv3_small_minimal_100",
    "tf_efficientnet_lite0",
    "efficientnet_es",
    "mnasnet_050",
    "fbnetc_100",
]


def randomised(module):
    """The network with batch norms that change what they read, and are used to it."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.weight.uniform_(0.5, 1.5, generator=rng)
                norm.bias.normal_(0, 0.2, generator=rng)
                norm.momentum = 1.0
        module.train()(torch.randn(4, 3, 64, 64, generator=rng))
    return module.eval()


@pytest.fixture
def weights(tmp_path):
    def save(name, **arguments):
        module = randomised(timm.create_model(name, **arguments))
        torch.save(module.state_dict(), tmp_path / f"{name}.pth")
        return module, tmp_path / f"{name}.pth"

    return save


@pytest.mark.parametrize("name", IMPORTED)
def test_the_imported_network_has_the_outputs_and_the_parameters_of_timm(name, weights):
    module, file = weights(name, num_classes=10)
    foreign = import_timm(name, file, resolution=64)
    net = foreign.to_network()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(net(images), module(images), atol=1e-4, rtol=1e-4)
    assert cost(foreign.arch).params == sum(parameter.numel() for parameter in module.parameters())
    assert cost(foreign.arch).macs == recount(foreign.arch)["macs"]


def test_mobileone_is_folded(weights):
    module, file = weights("mobileone_s0", num_classes=10)
    net = import_timm("mobileone_s0", file, resolution=64).to_network()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(net(images), module(images), atol=1e-3, rtol=1e-3)


def test_padding_of_tensorflow_and_preprocessing_are_kept(weights):
    foreign = import_timm("tf_efficientnet_lite0", weights("tf_efficientnet_lite0")[1])
    assert foreign.arch.padding == "same"
    assert foreign.arch.resolution == 224
    assert foreign.preprocessing.interpolation == "bicubic"
    assert foreign.preprocessing.crop == 0.875
    assert foreign.preprocessing.normalise.mean == (0.5, 0.5, 0.5)


def test_weights_under_other_names_are_taken_in_their_order(weights, tmp_path):
    module, file = weights("mobilenetv2_035", num_classes=10)
    state = torch.load(file)
    renamed = {f"layer{number}.{name.rpartition('.')[2]}": state[name] for number, name in enumerate(state)}
    torch.save(renamed, tmp_path / "renamed.pth")
    net = import_timm("mobilenetv2_035", tmp_path / "renamed.pth", resolution=64).to_network()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(net(images), module(images), atol=1e-4, rtol=1e-4)


def test_order_of_safetensors_is_not_trusted(weights, tmp_path):
    _, file = weights("mobilenetv2_035", num_classes=10)
    state = torch.load(file)
    renamed = {f"layer{number:03}.{name.rpartition('.')[2]}": state[name] for number, name in enumerate(state)}
    save_file(renamed, tmp_path / "renamed.safetensors")
    with pytest.raises(FileError, match="are not those of this"):
        import_timm("mobilenetv2_035", tmp_path / "renamed.safetensors", resolution=64)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("efficientnet_b0", "SiLU"),
        ("semnasnet_100", "ReLU and Sigmoid"),
        ("lcnet_050", "depthwise hswish, gate, pointwise hswish"),
        ("mobilenetv4_conv_small", "tinynas has no such block"),
        ("resnet10t", "max pooling"),
    ],
)
def test_what_tinynas_does_not_have_is_refused_by_name(name, reason, weights):
    with pytest.raises(InputError, match=reason):
        import_timm(name, weights(name)[1])


def test_weights_of_another_network_are_refused(weights):
    with pytest.raises(FileError, match="are not those of this"):
        import_timm("mobilenetv2_050", weights("mobilenetv2_035")[1])
