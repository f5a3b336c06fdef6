"""Layers of other networks: the norm's epsilon, biases and folded norms, and what does not fit."""

from dataclasses import replace

import pytest
import torch

from tinynas.arch.zoo import load_arch
from tinynas.models.importers.layers import ForeignLayer, copy_layers, layers_in
from tinynas.models.network import build, fold
from tinynas.utils.errors import InputError

ARCH = replace(load_arch("mcunet-in3"), resolution=48, classes=10)
IMAGES = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))


def trained():
    torch.manual_seed(0)
    net = build(ARCH, residual_gain=1.0)
    with torch.no_grad():
        net(IMAGES)
    return net.eval()


@torch.no_grad()
@pytest.mark.parametrize("eps", [1e-5, 1e-3])
def test_epsilon_of_the_other_network_is_made_up_for(eps):
    other, net = trained(), build(ARCH).eval()
    copy_layers(net, layers_in(other.state_dict(), eps))
    for module in other.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = eps
    torch.testing.assert_close(net(IMAGES), other(IMAGES), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_folded_norms_become_norms_that_add_the_bias():
    other, net = trained(), build(ARCH).eval()
    copy_layers(net, layers_in(fold(other).state_dict(), 1e-5))
    torch.testing.assert_close(net(IMAGES), other(IMAGES), atol=1e-4, rtol=1e-4)


def test_other_layers_and_shapes_are_refused():
    layers = layers_in(trained().state_dict(), 1e-5)
    with pytest.raises(InputError, match=f"has {len(layers)} layers, but the weights are those of {len(layers) - 1}"):
        copy_layers(build(ARCH), layers[1:])
    with pytest.raises(InputError, match="the weight of x is"):
        copy_layers(build(ARCH), [ForeignLayer(name="x", weight=torch.zeros(1, 1, 1, 1)), *layers[1:]])


def test_tensors_that_are_no_layer_are_refused():
    with pytest.raises(InputError, match="class_token"):
        layers_in({"encoder.class_token": torch.zeros(1, 1, 8)}, 1e-5)
