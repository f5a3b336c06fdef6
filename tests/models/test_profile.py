import numpy as np
import pytest
import torch
from torch import nn

from helpers import Encoder
from tinynas import build, cost, load_arch
from tinynas.arch.cost import layer_costs
from tinynas.arch.zoo import shipped_networks
from tinynas.early_exit.graph_split import split_network
from tinynas.models.profile import macs_by_torch, recount


@pytest.mark.parametrize("name", shipped_networks())
def test_recount_equals_cost_for_published_networks(name):
    arch = load_arch(name)
    assert recount(arch) == {"macs": cost(arch).macs, "params": cost(arch).params}


@pytest.mark.parametrize("name", ["mcunet-in3", "mobilenet-v3-large-w0.35"])
def test_macs_are_those_of_the_cost_model(name):
    arch = load_arch(name)
    net, image = build(arch), torch.zeros(1, 3, arch.resolution, arch.resolution)
    assert macs_by_torch(net.eval(), image) == cost(arch).macs
    first, _ = split_network(net, ["stages.2"], [image])
    counted = np.array([step.macs for step in layer_costs(arch) if not step.name.startswith(("stages.3", "head"))])
    names = [step.name for step in layer_costs(arch)]
    last = max(i for i, step in enumerate(names) if step.startswith("stages.2."))
    assert macs_by_torch(first, image) == counted[: last + 1].sum()


def test_macs_of_attention():
    """3 layers of 9 tokens: four 16x16 projections, two of 16x32, scores and sums of 9x9x16; embedding, classifier."""
    torch.backends.mha.set_fastpath_enabled(True)
    layer = 9 * (4 * 16 * 16 + 2 * 16 * 32) + 2 * 9 * 9 * 16
    assert (
        macs_by_torch(Encoder().eval().requires_grad_(False), torch.randn(1, 1, 9, 12))
        == 3 * layer + 9 * 12 * 16 + 16 * 4
    )


@pytest.mark.parametrize("directions", [1, 2])
def test_macs_of_an_lstm(directions):
    """Two layers of 7 steps: four gates, of the input and of the 16 units (of both directions, where there are two)."""
    net = nn.LSTM(8, 16, 2, batch_first=True, bidirectional=directions == 2).requires_grad_(False)
    layers = 4 * 16 * (8 + 16) + 4 * 16 * (16 * directions + 16)
    assert macs_by_torch(net, torch.randn(1, 7, 8)) == 7 * directions * layers
