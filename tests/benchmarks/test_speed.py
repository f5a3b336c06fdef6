"""How speed.py times and counts."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from tinynas import augment, load_arch, load_space


@pytest.fixture(scope="module")
def target():
    """A small classifier of ten classes, for small images."""
    return replace(load_space("micro").min(), resolution=16)


def test_every_round_begins_with_another_call():
    from common.timing import time_rounds

    calls = []
    rounds = [[partial(calls.append, name) for name in "abc"]] * 3
    assert len(time_rounds(rounds)) == 2
    assert calls == list("abcbcacab")


def test_ratios_are_by_round():
    from common.timing import ratios

    assert ratios([[1.0, 2.0, 4.0], [3.0, 1.0, 6.0]], 0, 2) == [0.25, 0.5]


def test_plain_and_supernet_steps_train_the_same_networks_on_the_same_losses(target):
    from common.speed_steps import sandwich_step
    from common.step_runs import PlainSteps, SupernetSteps, make_batch

    step = sandwich_step("micro", batch=4, side=16)
    torch.manual_seed(0)
    supernet = SupernetSteps(step, "eager")
    batch = make_batch(step, step.batch)
    networks = supernet.networks(0)
    PlainSteps(step, networks).run(batch)
    supernet.run(batch, 0)
    expected = torch.stack([network.head.classifier.bias.grad for network in networks]).sum(0)
    torch.testing.assert_close(supernet._supernet.net.head.classifier.bias.grad, expected)
