"""Programs of layers that no network of the spaces has, and what is not covered."""

import copy

import pytest
import torch
from torch import nn

from tinynas.blocks.inverted_residual import InvertedResidual
from tinynas.kernels.passes import TensorTable, run_evaluation, run_training
from tinynas.kernels.program import NotCoveredError, ProgramBuilder, part_of
from tinynas.models.layers import ConvNorm
from tinynas.utils.errors import InputError


def builder_for(module, channels=3, size=(9, 7)):
    slots, parts = [], {}
    for child in module.modules():
        for tensors in (child._parameters, child._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    parts[id(tensors), name] = part_of(len(slots), 0, tensor.stride())
                    slots.append((tensors, name))
    return ProgramBuilder(parts, channels, *size), TensorTable(slots)


class Tapped(nn.Module):
    """A stem and two blocks, whose maps all are outputs: the first block's is also the shortcut of the second."""

    def __init__(self):
        super().__init__()
        self.stem = ConvNorm(3, 6, 3, 2, act="relu")
        self.first = InvertedResidual(out=5, kernel=5, stride=1, mid=11, se=3, act="hswish").module(6)
        self.second = InvertedResidual(out=5, kernel=3, stride=1, mid=7, act="relu6", residual=True).module(5)

    def forward(self, images):
        stem = self.stem(images)
        first = self.first(stem)
        return stem, first, self.second(first)

    def program(self):
        builder, table = builder_for(self)
        stem = builder.emit(self.stem, builder.images)
        first = builder.emit(self.first, stem)
        second = builder.emit(self.second, first)
        return builder.build([builder.plain(stem), builder.plain(first), second]), table


@pytest.mark.parametrize("batch", [2, 16, 19])
def test_maps_that_are_outputs_and_are_read_get_the_gradients_of_both(batch):
    torch.manual_seed(0)
    eager = Tapped()
    own = copy.deepcopy(eager)
    images = torch.randn(batch, 3, 9, 7)
    expected = eager(images)
    program, table = own.program()
    outputs = run_training(program, table, images, tracks=True)
    for output, of_eager in zip(outputs, expected, strict=True):
        torch.testing.assert_close(output, of_eager, rtol=1e-4, atol=1e-5)
    weights = [torch.randn_like(output) for output in outputs]
    for of_run in (outputs, expected):
        sum((output * weight).sum() for output, weight in zip(of_run, weights, strict=True)).backward()
    for (name, parameter), of_eager in zip(own.named_parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, of_eager.grad, rtol=1e-3, atol=1e-3, msg=name)
    eager.eval()
    evaluated = run_evaluation(own.program()[0], table, images)
    for output, of_eager in zip(evaluated, eager(images), strict=True):
        torch.testing.assert_close(output, of_eager, rtol=1e-4, atol=1e-5)


class Other(nn.Module):
    """A layer that does not describe itself."""


def conv_norm(act=None, **settings):
    layer = ConvNorm(4, 4, 3)
    layer.conv = nn.Conv2d(4, 4, **{"kernel_size": 3, "padding": 1, "bias": False} | settings)
    layer.act = act or nn.ReLU()
    return layer


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (Other(), "Other"),
        (conv_norm(act=nn.SiLU()), "SiLU"),
        (conv_norm(dilation=2, padding=2), "dilation"),
        (conv_norm(groups=2), "groups=2"),
        (conv_norm(padding=0), "Conv2d"),
        (conv_norm(bias=True), "Conv2d"),
        (conv_norm(kernel_size=(1, 3), padding=(0, 1)), "kernel_size=\\(1, 3\\)"),
        (conv_norm(kernel_size=17, padding=8, groups=4), "17"),
    ],
)
def test_layers_that_are_not_covered_are_named(layer, named):
    builder, _ = builder_for(layer, channels=4)
    with pytest.raises(NotCoveredError, match=named):
        builder.emit(layer, builder.images)


def test_dense_convolutions_of_maps_are_not_covered():
    layers = nn.Sequential(ConvNorm(3, 4, 3), ConvNorm(4, 4, 3))
    builder, _ = builder_for(layers)
    x = builder.emit(layers[0], builder.images)
    with pytest.raises(NotCoveredError, match="Conv2d"):
        builder.emit(layers[1], x)


def test_a_single_value_per_channel_is_refused_in_training():
    net = Tapped()
    builder, table = builder_for(net, size=(2, 2))
    stem = builder.emit(net.stem, builder.images)
    program = builder.build([builder.plain(stem)])
    with pytest.raises(InputError, match="two values per channel"):
        run_training(program, table, torch.zeros(1, 3, 2, 2), tracks=True)
    assert run_training(program, table, torch.zeros(2, 3, 2, 2), tracks=True)[0].shape == (2, 6, 1, 1)


@pytest.mark.parametrize("threads", [1, 3])
def test_maps_whose_memory_is_used_again_are_the_same(threads):
    """Without gradients, a pass keeps no more maps than are still to be read."""
    torch.manual_seed(0)
    net = Tapped()
    program, table = net.program()
    images = torch.randn(53, 3, 9, 7)
    kept = run_training(program, table, images, tracks=False)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    with torch.no_grad():
        outputs = run_training(program, table, images, tracks=False)
    torch.set_num_threads(before)
    assert all(torch.equal(*pair) for pair in zip(outputs, kept, strict=True))
