from dataclasses import replace

import pytest

from helpers import images_for, model_of, sampled, sidenet_of, slow_except
from tinynas import SideNet, cost
from tinynas.arch.cost import layer_costs
from tinynas.early_exit.model import EarlyExitModel, build_cascade, worst_case_cost


@pytest.mark.parametrize("number", slow_except(range(4), 0))
def test_worst_case_cost_counts_trunk_heads_and_rest(space, number):
    arch = sampled(space, number)
    taps = ["stages.0", "stages.1"]
    model = EarlyExitModel(models=(model_of(arch),), exits=sidenet_of(arch, taps))
    counted, whole = worst_case_cost(model), cost(arch)
    macs = model.exits.macs(model.example())
    assert macs[-1] == counted.macs
    layers, channels = list(layer_costs(arch)), [stage[-1].out for stage in arch.stages]
    until = max(i for i, step in enumerate(layers) if step.name.startswith("stages.0"))
    first = channels[0] * 5 + 5 * arch.classes
    assert macs[0] == sum(step.macs for step in layers[: until + 1]) + first
    heads = [5 * width + 5 * arch.classes for width in channels]
    assert counted.macs == whole.macs + sum(heads)
    assert counted.params == whole.params + sum(heads) + 2 * (5 + arch.classes)
    assert counted.params == sum(p.numel() for p in [*model.mainnet.net.parameters()]) + sum(
        p.numel() for head in model.exits.heads for p in head.parameters()
    )
    assert counted.flash == whole.flash + sum(heads) + 2 * 8 * (5 + arch.classes)
    assert counted.peak_sram >= whole.peak_sram


def test_worst_case_cost_keeps_the_tap_in_memory(space):
    """A head wider than the network's own peak: its hidden layer beside the tapped map."""
    arch = space.min()
    net = SideNet(model_of(arch).net, "stages.0", 20_000, inputs=images_for(arch))
    model = EarlyExitModel(models=(model_of(arch),), exits=net)
    size = arch.resolution // 2
    tap = arch.stages[0][-1].out * size**2
    assert worst_case_cost(model).peak_sram == tap + 20_000 + arch.stages[0][-1].out


def test_worst_case_cost_of_a_cascade_keeps_its_image(space):
    tiny, big = model_of(space.min()), model_of(space.max())
    model = EarlyExitModel(models=(tiny, big), exits=build_cascade(tiny, big))
    both = cost(tiny.net.arch), cost(big.net.arch)
    assert worst_case_cost(model).macs == sum(part.macs for part in both) == model.exits.macs(model.example())[-1]
    assert worst_case_cost(model).peak_sram == max(
        both[1].peak_sram, *(step.sram + model.example().numel() for step in layer_costs(tiny.net.arch))
    )
    same = replace(model, models=(tiny, tiny), exits=build_cascade(tiny, tiny))
    first, *others = (step.sram for step in layer_costs(tiny.net.arch))
    assert worst_case_cost(same).peak_sram == max(first, *(sram + same.example().numel() for sram in others))
