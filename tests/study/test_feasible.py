import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import SPACE, budgets
from tinynas import Budget, cost
from tinynas.study.feasible import Feasible
from tinynas.utils.errors import BudgetError

LOW, HIGH = cost(SPACE.min()).macs, cost(SPACE.max()).macs


@pytest.mark.parametrize(("low", "high"), [(2 * LOW, 3 * LOW), (HIGH // 2, HIGH), (HIGH, None), (LOW, LOW)])
def test_feasible_samples_between_two_budgets(low, high, rng):
    feasible = Feasible(space=SPACE, budget=Budget(min_macs=low, macs=high))
    for _ in range(20):
        arch = feasible.sample(rng)
        assert low <= cost(arch).macs <= (high or HIGH)
        assert SPACE.contains(arch)


def test_feasible_spread_goes_from_the_smallest_to_the_largest(rng):
    feasible = Feasible(space=SPACE, budget=Budget(macs=60_000))
    macs = [cost(arch).macs for arch in feasible.start_points(6, rng)]
    assert macs[0] == LOW
    assert macs[-1] > 50_000
    assert macs == sorted(macs)
    assert np.diff(np.log(macs)).max() < np.log(60_000 / LOW) / 2


def test_feasible_check_refuses_a_range_above_the_largest_network():
    with pytest.raises(BudgetError, match=f"as many as {HIGH + 1:,} MACs, the largest has {HIGH:,}"):
        Feasible(space=SPACE, budget=Budget(min_macs=HIGH + 1)).check()


def test_feasible_sample_refuses_a_range_without_a_network(rng):
    macs = sorted({cost(SPACE.sample(rng)).macs for _ in range(2000)})
    gap = max(range(len(macs) - 1), key=lambda i: macs[i + 1] - macs[i])
    feasible = Feasible(space=SPACE, budget=Budget(min_macs=macs[gap] + 1, macs=macs[gap] + 2))
    with pytest.raises(BudgetError, match="did not fit the limits"):
        feasible.sample(rng)


@given(budget=budgets, seed=st.integers(0, 1000))
@settings(max_examples=200, deadline=None)
def test_feasible_repair_always_ends_within_the_budget(budget, seed):
    rng = np.random.default_rng(seed)
    arch = Feasible(space=SPACE, budget=budget).repair(SPACE.sample(rng), rng)
    assert budget.fits(cost(arch))
    assert SPACE.contains(arch)


def test_feasible_check_names_the_smallest_networks_cost():
    smallest = cost(SPACE.min())
    with pytest.raises(
        BudgetError, match=r"the smallest has macs [\d,]+ \(limit 1,000\), params ([\d,]+) \(limit \1\), peak_sram"
    ):
        Feasible(space=SPACE, budget=Budget(macs=1000, params=smallest.params, peak_sram=64)).check()
