"""The moving average of a target's weights: its values, its place in a supernet, and what a checkpoint keeps."""

import torch

from helpers import trained_supernet
from tinynas import Supernet, augment
from tinynas.models.shrinking import shrink
from tinynas.training.averaging import WeightAverage


def change(supernet):
    with torch.no_grad():
        for tensor in (*supernet.parameters(), *supernet.buffers()):
            if tensor.is_floating_point():
                tensor.add_(torch.randn_like(tensor))


def test_average_is_the_weighted_sum_of_all_weights(any_space):
    """With decays of 2 / 11, 3 / 12, ... and then those of the setting, for weights and statistics of the target."""
    target = any_space.min()
    supernet = Supernet(augment(target, width=(1.0, 2.0), expand=(1.0, 2.0)))
    average = WeightAverage(supernet, target, decay=0.3)
    expected = {name: tensor.clone() for name, tensor in supernet.extract(target).state_dict().items()}
    for decay in (2 / 11, 3 / 12, 0.3, 0.3, 0.3):
        change(supernet)
        average.update()
        for name, tensor in supernet.extract(target).state_dict().items():
            if tensor.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * tensor
    net = average.network()
    assert not net.training
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-5)


def test_average_goes_on_when_a_supernet_shrinks_or_is_resumed(space):
    target = space.min()
    supernet, optimizer = trained_supernet(augment(target, width=(1.0, 2.0), expand=(1.0,)))
    average, other = (WeightAverage(supernet, target, decay=0.9) for _ in range(2))
    average.update()
    state = average.state_dict()
    shrink(supernet, augment(target, width=(1.0,), expand=(1.0,)), optimizer)
    change(supernet)
    other.load_state_dict({"net": {k: v.clone() for k, v in state["net"].items()}, "updates": state["updates"]})
    before = average.network().state_dict()
    for each_average in (average, other):
        each_average.update()
    weights = supernet.extract(target).state_dict()
    for name, tensor in average.network().state_dict().items():
        assert torch.equal(tensor, other.network().state_dict()[name])
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, 0.25 * before[name] + 0.75 * weights[name], rtol=1e-4, atol=1e-5)


def test_average_that_restarts_forgets_earlier_weights(space):
    target = space.min()
    supernet = Supernet(augment(target, width=(1.0, 2.0), expand=(1.0,)))
    average = WeightAverage(supernet, target, decay=0.9)
    change(supernet)
    average.restart()
    weights = supernet.extract(target).state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in average.network().state_dict().items())
