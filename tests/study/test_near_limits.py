import numpy as np
import pytest

from tinynas import Budget, cost, load_space
from tinynas.arch.narrowing import narrowed
from tinynas.study.feasible import Feasible
from tinynas.study.near_limits import options_near_limits
from tinynas.utils.rng import generator


@pytest.mark.parametrize("limit", [60_000, 100_000, 1_000_000])
def test_few_networks_near_the_limit_have_an_option_that_is_left_out(limit):
    space = load_space("micro")
    feasible = Feasible(space=space, budget=Budget(macs=limit))
    counts = options_near_limits(feasible, generator(0, "narrow"))
    assert counts.keys() == space.genes().keys()
    rng, near, outside = np.random.default_rng(7), 0, dict.fromkeys(counts, 0)
    while near < 300:
        arch = feasible.repair(space.sample(rng, size_balanced=True), rng)
        if cost(arch).macs < 0.8 * limit:
            continue
        near += 1
        for name, index in space.encode(arch).items():
            outside[name] += index >= counts[name]
    assert max(outside.values()) < 0.06 * near
    assert narrowed(space, counts).min() == space.min()


def test_tight_limits_leave_more_out():
    space = load_space("micro")
    sizes = []
    for limit in (60_000, 100_000, 300_000, None):
        feasible = Feasible(space=space, budget=Budget(macs=limit))
        counts = options_near_limits(feasible, generator(0, "narrow"))
        sizes.append(cost(narrowed(space, counts).max()).macs)
    assert sizes == sorted(set(sizes))
    assert sizes[1] < 400_000


def test_limits_of_memory_leave_options_out_too():
    space = load_space("micro")
    feasible = Feasible(space=space, budget=Budget(peak_sram=4096))
    counts = options_near_limits(feasible, generator(0, "narrow"))
    assert counts["stages.0.0.out"] < space.genes()["stages.0.0.out"]
