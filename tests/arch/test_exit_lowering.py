from itertools import pairwise

import pytest

from helpers import sampled
from tinynas.arch.exit_lowering import split_after_outputs, with_side_heads
from tinynas.arch.lowering import lower
from tinynas.arch.memory_plan import peak_bytes
from tinynas.utils.errors import InputError


def test_side_heads_follow_the_tapped_modules(space):
    network = lower(space.max())
    whole = with_side_heads(network, ["stages.0.0", "stages.1"], 5)
    names = [operator.name for operator in whole.operators]
    assert [name for name in names if not name.startswith("side.")] == [o.name for o in network.operators]
    first = names.index("side.0.pool")
    assert names[first - 1].startswith("stages.0.0.")
    assert names[first : first + 3] == ["side.0.pool", "side.0.hidden", "side.0.classifier"]
    second = names.index("side.1.pool")
    assert whole.operators[second].inputs == (whole.operators[second - 1].output,)
    assert names[second + 3] == "head.conv"
    assert [output.shape for output in whole.outputs] == [(1, 3)] * 3
    added = sum(o.macs for o in whole.operators) - sum(o.macs for o in network.operators)
    channels = [whole.operators[number].inputs[0].channels for number in (first, second)]
    assert added == sum(5 * features + 5 * 3 for features in channels)


@pytest.mark.parametrize("taps", [["stages.0"], ["stem", "stages.0.0", "stages.1"], ["stages.1.1.depthwise"]])
def test_parts_run_one_after_another(space, taps):
    whole = with_side_heads(lower(space.max()), taps, 4)
    parts = split_after_outputs(whole)
    assert len(parts) == len(taps) + 1
    assert [operator for part in parts for operator in part.operators] == list(whole.operators)
    assert parts[0].inputs == whole.inputs
    for part, following in pairwise(parts):
        assert following.inputs == part.outputs[1:]
    for part in parts:
        known = set(part.inputs)
        for operator in part.operators:
            assert set(operator.inputs) <= known
            known.add(operator.output)
        assert set(part.outputs) <= known
        assert peak_bytes(part) <= peak_bytes(whole)
    assert tuple(part.outputs[0] for part in parts) == whole.outputs


def test_a_tap_inside_a_residual_block_carries_the_shortcut(space):
    whole = with_side_heads(lower(space.max()), ["stages.1.1.depthwise"], 4)
    first, last = split_after_outputs(whole)
    assert [tensor.name for tensor in last.inputs] == ["stages.1.0.project", "stages.1.1.depthwise.act"]
    assert len(first.outputs) == 3


@pytest.mark.parametrize("tap", ["stages.0.0.depthwise.conv", "stages.0.0.se", "head.hidden", "head"])
def test_taps_without_a_feature_map_are_rejected(space, tap):
    network = lower(sampled(space, 0))
    with pytest.raises(InputError, match=f"but the tap is {tap}; make the exits with another --tap"):
        with_side_heads(network, [tap], 4)
