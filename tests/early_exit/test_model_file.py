from dataclasses import replace

import pytest
import torch

from helpers import images_for, model_of, sidenet_of
from tinynas import SideNet, cost
from tinynas.arch.cost import layer_costs
from tinynas.early_exit.model import EarlyExitModel, build_cascade, worst_case_cost
from tinynas.early_exit.model_file import read_early_exits, save_early_exits
from tinynas.early_exit.thresholds import NEVER_EXIT
from tinynas.models.model_file import read_model, save_model
from tinynas.utils.errors import FileError


def test_exits_cost_counts_trunk_heads_and_rest(space, rng):
    for _ in range(4):
        arch = space.sample(rng)
        taps = ["stages.0", "stages.1"]
        model = EarlyExitModel(models=(model_of(arch),), exits=sidenet_of(arch, taps), threshold=0.5)
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


def test_exits_cost_keeps_the_tap_in_memory(space):
    """A head wider than the network's own peak: its hidden layer beside the tapped map."""
    arch = space.min()
    net = SideNet(model_of(arch).net, "stages.0", 20_000, inputs=images_for(arch))
    model = EarlyExitModel(models=(model_of(arch),), exits=net, threshold=0.5)
    size = arch.resolution // 2
    tap = arch.stages[0][-1].out * size**2
    assert worst_case_cost(model).peak_sram == tap + 20_000 + arch.stages[0][-1].out


def test_exits_cost_of_a_cascade_keeps_its_image(space):
    tiny, big = model_of(space.min()), model_of(space.max())
    model = EarlyExitModel(models=(tiny, big), exits=build_cascade(tiny, big), threshold=0.5)
    both = cost(tiny.net.arch), cost(big.net.arch)
    assert worst_case_cost(model).macs == sum(one.macs for one in both) == model.exits.macs(model.example())[-1]
    assert worst_case_cost(model).peak_sram == max(
        both[1].peak_sram, *(step.sram + model.example().numel() for step in layer_costs(tiny.net.arch))
    )
    same = replace(model, models=(tiny, tiny), exits=build_cascade(tiny, tiny))
    first, *others = (step.sram for step in layer_costs(tiny.net.arch))
    assert worst_case_cost(same).peak_sram == max(first, *(sram + same.example().numel() for sram in others))


@pytest.mark.parametrize("kind", ["sidenet", "cascade"])
def test_save_exits_and_read_exits_round_trip(space, tmp_path, kind):
    big = model_of(space.max())
    if kind == "sidenet":
        model = EarlyExitModel(models=(big,), exits=sidenet_of(space.max(), ["stages.0", "stages.1"]), threshold=0.7)
    else:
        tiny = model_of(space.min())
        model = EarlyExitModel(models=(tiny, big), exits=build_cascade(tiny, big), threshold=0.7)
    model.exits.temperatures.uniform_(0.5, 2)
    save_early_exits(tmp_path / "sidenet.safetensors", model)
    again = read_early_exits(tmp_path / "sidenet.safetensors")
    images = images_for(space.max(), 9)
    for threshold in (0, 0.6, NEVER_EXIT):
        assert torch.equal(
            again.exits(images, threshold=threshold).logits, model.exits(images, threshold=threshold).logits
        )
    assert (again.threshold, again.names) == (0.7, model.names)
    assert torch.equal(again.exits.temperatures, model.exits.temperatures)
    save_model(tmp_path / "model.safetensors", big)
    with pytest.raises(
        FileError, match="is of the kind 'tinynas', not a network with early exits; recreate it with tinynas sidenet"
    ):
        read_early_exits(tmp_path / "model.safetensors")
    with pytest.raises(FileError, match="is of the kind 'tinynas-exits', not a tinynas model"):
        read_model(tmp_path / "sidenet.safetensors")
    raw = bytearray((tmp_path / "sidenet.safetensors").read_bytes())
    raw[-3] ^= 1
    (tmp_path / "sidenet.safetensors").write_bytes(raw)
    with pytest.raises(FileError, match="is corrupt, or not a network with early exits"):
        read_early_exits(tmp_path / "sidenet.safetensors")
