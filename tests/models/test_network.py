from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import conv2d, pad

from helpers import images_for, model_of, trained_supernet
from tinynas import build, load_arch
from tinynas.arch.arch import Arch
from tinynas.arch.blocks import Stem
from tinynas.blocks.inverted_residual import InvertedResidual
from tinynas.models.network import fold, fold_in_place


def test_build_uses_ordinary_modules(space):
    net = build(space.max())
    assert net(torch.zeros(2, 1, 12, 12)).shape == (2, 3)
    assert all(type(m).__module__.startswith(("torch.nn", "tinynas.models")) for m in net.modules())


def test_fold_computes_the_same(any_space):
    supernet, _ = trained_supernet(any_space)
    net = supernet.extract(any_space.max()).eval().double()
    folded = fold(net)
    images = torch.randn(3, 1, 12, 12, dtype=torch.float64)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    assert torch.allclose(folded(images), net(images), rtol=1e-9)
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in net.modules())


def test_fold_in_place_equals_fold(any_space):
    supernet, _ = trained_supernet(any_space)
    net = supernet.extract(any_space.max())
    for keep in ((), ("stem.conv",)):
        folded, other = fold(net, keep), deepcopy(net)
        fold_in_place(other, keep)
        assert isinstance(other.stem.norm, torch.nn.BatchNorm2d) == bool(keep)
        assert not other.training
        expected, tensors = folded.state_dict(), other.state_dict()
        assert expected.keys() == tensors.keys()
        assert all(torch.equal(expected[name], tensor) for name, tensor in tensors.items())
    assert net.training, "the original is as before"
    assert net.stem.conv.bias is None


def as_tensorflow_pads(images, kernel, stride):
    """Images with the zeros that TensorFlow documents for SAME: half of them, rounded down, before the first pixel."""
    size = images.shape[-1]
    zeros = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    before = zeros // 2
    return pad(images, (before, zeros - before, before, zeros - before))


@pytest.mark.parametrize("resolution", [8, 9, 15, 16])
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
def test_padding_same_is_tensorflows_for_turned_kernels(resolution, kernel, stride):
    block = InvertedResidual(out=4, kernel=3)
    stem = Stem(out=4, kernel=kernel, stride=stride)
    arch = Arch(resolution=resolution, classes=2, stem=stem, stages=((block,),), padding="same")
    net, images = fold(model_of(arch).net), images_for(arch, 2)
    maps = []
    net.stem.register_forward_hook(lambda module, inputs, output: maps.append(output))
    with torch.no_grad():
        net(images)
        conv = net.stem.conv
        expected = conv2d(as_tensorflow_pads(images, kernel, stride), conv.weight.flip((2, 3)), conv.bias, stride)
    torch.testing.assert_close(maps[0].flip((2, 3)), expected.clamp(0, 6), rtol=1e-4, atol=1e-5)


def test_padding_same_differs_where_a_stride_reads_an_even_size_only(any_space):
    """A detector's predictions are upright, too."""
    for resolution, equal in ((33, True), (32, False)):
        arch = replace(any_space.max(), resolution=resolution)
        net, other = model_of(arch).net, build(replace(arch, padding="same")).eval()
        state = net.state_dict()
        for name, tensor in state.items():
            if tensor.ndim == 4 and not name.startswith("head."):
                state[name] = tensor.flip((2, 3))
        other.load_state_dict(state)
        images = images_for(arch, 2)
        with torch.no_grad():
            assert torch.allclose(other(images), net(images), rtol=1e-4, atol=1e-5) == equal


def test_build_starts_residual_blocks_and_the_classifier_as_it_is_told():
    arch = load_arch("mcunet-in3")
    for settings, gain, std in (({}, 0, 160**-0.5), ({"residual_gain": 1.0, "classifier_std": 0.02}, 1, 0.02)):
        torch.manual_seed(0)
        net = build(arch, init="kaiming-uniform", **settings)
        gains = {
            value
            for stage in net.stages
            for block in stage
            if block.shortcut is not None
            for value in block.project.norm.weight.tolist()
        }
        assert gains == {gain}
        assert all(
            block.project.norm.weight.eq(1).all() for stage in net.stages for block in stage if block.shortcut is None
        )
        assert net.head.classifier.weight.std().item() == pytest.approx(std, rel=0.02)
        assert net.head.classifier.weight.mean().abs() < std / 50
        assert net.head.classifier.bias.eq(0).all()
