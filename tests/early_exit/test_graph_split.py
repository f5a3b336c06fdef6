"""Networks of every kind in parts: the same outputs to the bit, nothing computed twice."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn

from helpers import SPACE, Encoder, images_for, sampled, slow_except
from tinynas import build, load_arch
from tinynas.early_exit.graph_split import split_network
from tinynas.models.profile import macs_by_torch
from tinynas.utils.errors import InputError


@pytest.fixture(autouse=True)
def no_fused_kernels():
    """PyTorch's fused encoder layer rounds otherwise than the layer's own code, and never runs in a traced network."""
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(True)


class Residual(nn.Module):
    """A shortcut past its modules, activations in place, and the input used again at the end."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.act, self.second = nn.ReLU(inplace=True), nn.Conv2d(8, 3, 3, padding=1)
        self.drop, self.last = nn.Dropout(0.5), nn.Linear(3, 5)

    def forward(self, images):
        y = self.second(self.act(self.norm(self.first(images)))) + images
        return self.last(self.drop(y.flatten(2).mean(2)))


class Two(nn.Module):
    """Two inputs, both of them needed to the end."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 6), nn.Linear(6 + 3, 2)

    def forward(self, a, b):
        return self.two(torch.cat([self.one(a).relu(), b], 1))


def network(name):
    """A network of the zoo, or a small one whose second block is residual with squeeze-excite."""
    arch = sampled(SPACE, 1) if name == "small" else load_arch(name)
    return build(arch), images_for(replace(arch, resolution=64), 5)


CASES = {
    "small": lambda: (*network("small"), ["stages.0.1.depthwise", "stages.0.1.se", "stages.0", "stages.1"]),
    "stages": lambda: (*network("small"), ["stages.0", "stages.1"]),
    "within a residual block": lambda: (*network("small"), ["stages.0.1.depthwise"]),
    "squeeze-excite": lambda: (*network("small"), ["stages.0.1.se"]),
    "in-place activation": lambda: (Residual(), torch.randn(5, 3, 8, 8), ["norm"]),
    "shortcut past the tap": lambda: (Residual(), torch.randn(5, 3, 8, 8), ["first", "act"]),
    "rows": lambda: (Encoder(), torch.randn(5, 1, 9, 12), ["layers.layers.0"]),
    "sequence first": lambda: (Encoder(batch_first=False), torch.randn(5, 1, 9, 12), ["layers.layers.0"]),
    "words": lambda: (Encoder(words=True), torch.randint(0, 20, (5, 9)), ["layers.layers.0", "layers.layers.1"]),
    "published": lambda: (*network("mobilenet-v3-large-w0.35"), ["stages.1", "stages.2.1.se", "stages.3"]),
}
SLOW = {"stages", "within a residual block", "squeeze-excite", "published"}
every_case = pytest.mark.parametrize("case", slow_except(CASES, *CASES.keys() - SLOW))


@cache  # to trace a network takes a second or more
def split(case):
    """A network in eval mode, example inputs, taps, and the parts between them."""
    torch.manual_seed(0)
    net, inputs, taps = CASES[case]()
    return net, inputs, taps, split_network(net, taps, [inputs])


def run(parts, *inputs):
    carried, results = inputs, []
    for part in parts:
        result, *carried = part(*carried)
        results.append(result)
    assert carried == []
    return results


@every_case
def test_split_network_parts_compute_the_network_to_the_bit(case):
    net, inputs, taps, parts = split(case)
    tapped = []
    hooks = [net.get_submodule(tap).register_forward_hook(lambda m, i, out: tapped.append(out.clone())) for tap in taps]
    with torch.no_grad():
        for count in (5, 1, 3):
            tapped.clear()
            expected = net(inputs[:count])
            *results, outputs = run(parts, inputs[:count])
            assert torch.equal(outputs, expected)
            assert all(torch.equal(a, b) for a, b in zip(results, tapped, strict=True))
    for hook in hooks:
        hook.remove()


@every_case
def test_split_network_parts_compute_nothing_twice(case):
    net, inputs, _, parts = split(case)
    carried, counts = (inputs[:1],), []
    for part in parts:
        counts.append(macs_by_torch(part, *carried))
        with torch.no_grad():
            _, *carried = part(*carried)
    assert sum(counts) == macs_by_torch(net, inputs[:1])
    assert counts[0] > 0


def test_split_network_takes_several_inputs():
    net, inputs = Two(), (torch.randn(3, 4), torch.randn(3, 3))
    parts = split_network(net, ["one"], inputs)
    assert len(parts[0].batch_dims) == 2, "what the first made, and the second input"
    with torch.no_grad():
        assert torch.equal(run(parts, *inputs)[-1], net(*inputs))


def test_split_network_takes_the_first_tensor_of_a_tuple():
    net, inputs = Tupled(), torch.randn(3, 3)
    first, last = split_network(net, ["pair"], [inputs])
    with torch.no_grad():
        result, *carried = first(inputs)
        assert torch.equal(result, net.a(inputs))
        assert torch.equal(last(*carried)[0], net(inputs))


def test_split_network_finds_the_batch_dimension():
    *_, parts = split("sequence first")
    assert [part.batch_dim for part in parts] == [1, 0]


def test_split_network_parts_ignore_training_mode():
    net, images = Residual(), torch.randn(4, 3, 8, 8)
    parts = split_network(net, ["norm"], [images])
    with torch.no_grad():
        expected = run(parts, images)[-1]
        for part in parts:
            part.train()
        assert torch.equal(run(parts, images)[-1], expected), "no dropout, statistics as they were"


def test_split_network_parts_refuse_inputs_of_other_sizes():
    *_, parts = split("words")
    with pytest.raises(InputError, match=r"size that the network was split for: \(None, 9\) .*but have \(2, 8\)"):
        parts[0](torch.ones(2, 8, dtype=torch.long))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_split_network_refuses_a_network_that_computes_otherwise_when_traced():
    """PyTorch's encoder drops padding from the output of its fused kernels, if it may."""
    torch.backends.mha.set_fastpath_enabled(True)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    net = Encoder(words=True)
    net.layers = nn.TransformerEncoder(layer, 3)
    words = torch.tensor([[3, 4, 5, 0, 0, 0], [1, 2, 3, 4, 5, 6]])
    net.requires_grad_(False)
    with pytest.raises(
        InputError, match=r"Encoder computes something else when it is traced .* needs enable_nested_tensor=False"
    ):
        split_network(net, ["layers.layers.0"], [words])


class Choosy(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.pair = nn.Linear(3, 3), nn.Linear(3, 3), Pair()

    def forward(self, x):
        return self.a(x) if x.sum() > 0 else self.b(x)


class Pair(nn.Module):
    def forward(self, x):
        return x, x + 1


class Named(nn.Module):
    def forward(self, x):
        return {"first": x, "second": x + 1}


class Unused(Choosy):
    def __init__(self):
        super().__init__()
        self.named = Named()

    def forward(self, x):
        return self.a(self.named(x)["second"])


class Broken(Choosy):
    def forward(self, x):
        return self.a(x[:, :2])


class Chain(Choosy):
    def forward(self, x):
        return self.b(self.a(x))


class Tupled(Choosy):
    def forward(self, x):
        first, second = self.pair(self.a(x))
        return self.b(first + second)


class Paired(Choosy):
    def forward(self, x):
        return self.pair(self.a(x))


class Summed(Choosy):
    def forward(self, x):
        return x + self.a(x.sum(0))


@pytest.mark.parametrize(
    ("net", "tap", "inputs", "message"),
    [
        (Two(), "tow", (torch.zeros(2, 4), torch.zeros(2, 3)), "Two has no module 'tow'; did you mean two?"),
        (Two(), "", (torch.zeros(2, 4), torch.zeros(2, 3)), "Two has no module ''; its first modules are one, two"),
        (Choosy(), "a", (torch.zeros(2, 3),), "Choosy cannot be split, because torch.export cannot trace it: "),
        (Unused(), "b", (torch.zeros(2, 3),), "the network does not call its module 'b'"),
        (
            Unused(),
            "named",
            (torch.zeros(2, 3),),
            "'named' returns a dict with first, second, not a tensor; tap another",
        ),
        (Broken(), "a", (torch.zeros(2, 3),), "Broken fails on its example inputs of the shapes (2, 3): mat1 and mat2"),
        (
            Summed(),
            "a",
            (torch.zeros(2, 3),),
            "the output of a has the shape (3,), no dimension of which counts the examples",
        ),
        (Chain(), ["b", "b"], (torch.zeros(2, 3),), "every tap must be a different module, but the taps are b, b"),
        (
            Chain(),
            ["b", "a"],
            (torch.zeros(2, 3),),
            "taps must be in the order of computation; name a before b",
        ),
        (Chain(), "a", (torch.zeros(0, 3),), "a tensor has no example; pass at least one"),
        (Pair(), "", (torch.zeros(2, 3),), "Pair has no module ''"),
        (
            Paired(),
            "a",
            (torch.zeros(2, 3),),
            "Paired returns a tuple of Tensor, Tensor, but no tensor 'logits'; choose an",
        ),
    ],
)
def test_split_network_refuses_what_it_cannot_split(net, tap, inputs, message, capfd):
    with pytest.raises(InputError) as error:
        split_network(net, [tap] if isinstance(tap, str) else tap, inputs)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not any(capfd.readouterr())
