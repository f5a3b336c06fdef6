"""Checkpoints of NetAug's code, as plain modules with the authors' names; augmented ones hold the network."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tinynas.arch.cost import cost
from tinynas.arch.zoo import load_arch
from tinynas.models.importers.netaug_networks import NETWORKS, import_netaug
from tinynas.utils.errors import FileError, InputError

ACTS = {"relu": nn.ReLU, "relu6": nn.ReLU6, "hswish": nn.Hardswish}
CLASSES, SIDE = 10, 48
IMAGES = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


class Layer(nn.Module):
    def __init__(self, inputs, outputs, kernel=1, stride=1, *, groups=1, act="", bias=False):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=bias)
        self.norm = None if bias else nn.BatchNorm2d(outputs)
        self.act = ACTS[act]() if act else None

    def forward(self, x):
        x = self.conv(x)
        x = self.norm(x) if self.norm else x
        return self.act(x) if self.act else x


class Gate(nn.Module):
    def __init__(self, channels, squeezed):
        super().__init__()
        self.reduce_conv = nn.Conv2d(channels, squeezed, 1)
        self.expand_conv = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x):
        gate = self.reduce_conv(x.mean((2, 3), keepdim=True)).relu()
        return x * nn.functional.hardsigmoid(self.expand_conv(gate))


class Block(nn.Module):
    def __init__(self, inputs, block):
        super().__init__()
        mid = block.mid or inputs
        if block.mid:
            self.inverted_conv = Layer(inputs, mid, act=block.act)
        self.depth_conv = Layer(mid, mid, block.kernel, block.stride, groups=mid, act=block.act)
        self.point_conv = Layer(mid, block.out)
        if block.se:
            self.se_layer = Gate(mid, block.se)  # behind the last convolution in the file

    def forward(self, x):
        x = self.inverted_conv(x) if hasattr(self, "inverted_conv") else x
        x = self.depth_conv(x)
        x = self.se_layer(x) if hasattr(self, "se_layer") else x
        return self.point_conv(x)


class Shortcut(nn.Module):
    def __init__(self, conv, *, is_residual):
        super().__init__()
        self.conv = conv
        self.is_residual = is_residual

    def forward(self, x):
        return self.conv(x) + x if self.is_residual else self.conv(x)


class Classifier(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.linear = nn.Linear(features, CLASSES)

    def forward(self, x):
        return self.linear(x.flatten(1))


class Sequence(nn.Module):
    def __init__(self, *parts):
        super().__init__()
        self.op_list = nn.ModuleList(parts)

    def forward(self, x):
        for part in self.op_list:
            x = part(x)
        return x


class AuthorsNetwork(nn.Module):
    def __init__(self, arch):
        super().__init__()
        stem, head = arch.stem, arch.head
        channels, stages = stem.out, []
        for stage in arch.stages:
            blocks = []
            for block in stage:
                blocks.append(Shortcut(Block(channels, block), is_residual=block.residual))
                channels = block.out
            stages.append(blocks)
        first = Layer(3, stem.out, stem.kernel, stem.stride, act=stem.act)
        parts = [] if head.hidden else stages.pop()
        if head.conv:
            parts.append(Layer(channels, head.conv, act=head.act))
        parts.append(nn.AdaptiveAvgPool2d(1))
        if head.hidden:
            parts.append(Layer(head.conv, head.hidden, act=head.act, bias=True))
        parts.append(Classifier(head.hidden or head.conv or channels))
        stem_parts = Sequence(first, *stages[0])
        inner = nn.ModuleList(Sequence(*blocks) for blocks in stages[1:])
        self.backbone = nn.ModuleDict({"input_stem": stem_parts, "stages": inner})
        self.head = Sequence(*parts)

    def forward(self, x):
        x = self.backbone["input_stem"](x)
        for stage in self.backbone["stages"]:
            x = stage(x)
        return self.head(x)


@torch.no_grad()
def network_and_outputs(name):
    torch.manual_seed(0)
    module = AuthorsNetwork(load_arch(name))
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.weight.uniform_(0.5, 1.5)
            norm.momentum = 1.0
    module.train()(IMAGES)
    return module.state_dict(), module.eval()(IMAGES)


def augmented(state, factor):
    """Random tensors with so many times the channels, but for those of images and classes, with the network's first."""
    larger = {}
    for name, tensor in state.items():
        shape = list(tensor.shape)
        is_depthwise = "depth_conv.conv" in name
        if shape and "linear" not in name:
            shape[0] = int(shape[0] * factor + 0.5)
        if len(shape) > 1 and shape[1] != 3 and not is_depthwise:
            shape[1] = int(shape[1] * factor + 0.5)
        larger[name] = torch.full(shape, 7, dtype=tensor.dtype)
        larger[name][tuple(slice(0, size) for size in tensor.shape)] = tensor
    return larger


def assert_equal_outputs(foreign, expected):
    with torch.no_grad():
        torch.testing.assert_close(foreign.to_network()(IMAGES), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_found_by_their_weights(name, tmp_path):
    state, expected = network_and_outputs(name)
    torch.save({"state_dict": state, "epoch": 1}, tmp_path / "target.pt", _use_new_zipfile_serialization=False)
    foreign = import_netaug(str(tmp_path / "target.pt"), resolution=SIDE)
    assert foreign.arch.fitted_to(in_channels=3, classes=1000).stages == load_arch(name).stages
    assert foreign.arch.head == load_arch(name).head
    assert_equal_outputs(foreign, expected)
    trained = sum(tensor.numel() for key, tensor in state.items() if "running" not in key and tensor.ndim)
    assert cost(foreign.arch).params == trained


@pytest.mark.parametrize("name", NETWORKS)
def test_augmented_networks_are_cut(name, tmp_path):
    state, expected = network_and_outputs(name)
    torch.save(augmented(state, 2.6), tmp_path / "best.pt")
    assert_equal_outputs(import_netaug(str(tmp_path / "best.pt"), resolution=SIDE), expected)


def test_the_network_can_be_named_and_the_file_be_of_safetensors(tmp_path):
    state, expected = network_and_outputs("mobilenet-v3-large-w0.35")
    save_file(state, tmp_path / "target.safetensors")
    file = tmp_path / "target.safetensors"
    foreign = import_netaug("mobilenet-v3-large-w0.35", file, resolution=SIDE)
    assert_equal_outputs(foreign, expected)
    assert import_netaug("mobilenet-v3-large-w0.35", file).arch.resolution == 160
    with pytest.raises(FileError, match="the weights neither of mcunet-in3 in NetAug's code"):
        import_netaug("mcunet-in3", file)
    with pytest.raises(InputError, match="unknown network of NetAug's code 'mcunet'"):
        import_netaug("mcunet", file)


def test_other_networks_are_refused(tmp_path):
    state, _ = network_and_outputs("mcunet-in3")
    more = {**state, "backbone.stages.0.op_list.4.conv.point_conv.conv.weight": torch.zeros(1)}
    smaller = {name: tensor[: len(tensor) // 2] if tensor.ndim else tensor for name, tensor in state.items()}
    for other in (more, smaller, {"conv.weight": torch.zeros(1)}):
        torch.save(other, tmp_path / "other.pt")
        with pytest.raises(FileError, match="has the weights neither of mobilenet-v2-tiny nor of"):
            import_netaug(str(tmp_path / "other.pt"))
