import pytest
import torch
from torch import nn

from helpers import SPACE, Encoder, images_for, sampled, slow_except
from tinynas import build, cost, load_arch
from tinynas.arch.cost import layer_costs
from tinynas.arch.zoo import shipped_networks
from tinynas.early_exit.graph_split import split_network
from tinynas.models.profile import macs_by_torch, recount


@pytest.mark.parametrize("name", shipped_networks())
def test_recount_equals_cost_for_published_networks(name):
    arch = load_arch(name)
    assert recount(arch) == {"macs": cost(arch).macs, "params": cost(arch).params}


NETWORKS = {"small": sampled(SPACE, 1), "mcunet-in3": load_arch("mcunet-in3")}


@pytest.mark.parametrize("name", slow_except(NETWORKS, "small"))
def test_macs_are_those_of_the_cost_model(name):
    arch = NETWORKS[name]
    net, image = build(arch).eval(), images_for(arch)
    assert macs_by_torch(net, image) == cost(arch).macs
    last_but_one = f"stages.{len(arch.stages) - 2}"
    first, _ = split_network(net, [last_but_one], [image])
    counted = list(layer_costs(arch))
    until = max(i for i, layer in enumerate(counted) if layer.name.startswith(f"{last_but_one}."))
    assert macs_by_torch(first, image) == sum(layer.macs for layer in counted[: until + 1])


def test_macs_of_attention():
    """2 layers of 9 tokens: four 16x16 projections, two of 16x32, scores and sums of 9x9x16; embedding, classifier."""
    torch.backends.mha.set_fastpath_enabled(True)
    layer = 9 * (4 * 16 * 16 + 2 * 16 * 32) + 2 * 9 * 9 * 16
    assert (
        macs_by_torch(Encoder().eval().requires_grad_(False), torch.randn(1, 1, 9, 12))
        == 2 * layer + 9 * 12 * 16 + 16 * 4
    )


@pytest.mark.parametrize("directions", [1, 2])
def test_macs_of_an_lstm(directions):
    """Two layers of 7 steps: four gates, of the input and of the 16 units (of both directions, where there are two)."""
    net = nn.LSTM(8, 16, 2, batch_first=True, bidirectional=directions == 2).requires_grad_(False)
    layers = 4 * 16 * (8 + 16) + 4 * 16 * (16 * directions + 16)
    assert macs_by_torch(net, torch.randn(1, 7, 8)) == 7 * directions * layers
