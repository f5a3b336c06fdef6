import numpy as np
import pytest
from conftest import SMALL

from tinynas import Budget, SearchSpace, cost
from tinynas.study.feasible import Feasible
from tinynas.utils.errors import BudgetError

SPACE = SearchSpace.from_dict(SMALL)
LOW, HIGH = cost(SPACE.min()).macs, cost(SPACE.max()).macs


@pytest.mark.parametrize(("low", "high"), [(2 * LOW, 3 * LOW), (HIGH // 2, HIGH), (HIGH, None), (LOW, LOW)])
def test_samples_are_between_two_budgets(low, high, rng):
    feasible = Feasible(space=SPACE, budget=Budget(min_macs=low, macs=high))
    for _ in range(20):
        arch = feasible.sample(rng)
        assert low <= cost(arch).macs <= (high or HIGH)
        assert SPACE.contains(arch)


def test_a_spread_goes_from_the_smallest_to_the_largest(rng):
    feasible = Feasible(space=SPACE, budget=Budget(macs=60_000))
    macs = [cost(arch).macs for arch in feasible.spread(6, rng)]
    assert macs[0] == LOW
    assert macs[-1] > 50_000
    assert macs == sorted(macs)
    assert np.diff(np.log(macs)).max() < np.log(60_000 / LOW) / 2


def test_a_range_above_the_largest_network_is_an_error():
    with pytest.raises(BudgetError, match=f"as many as {HIGH + 1:,} MACs, the largest has {HIGH:,}"):
        Feasible(space=SPACE, budget=Budget(min_macs=HIGH + 1)).check()


def test_a_range_without_a_network_is_an_error(rng):
    macs = sorted({cost(SPACE.sample(rng)).macs for _ in range(2000)})
    gap = max(range(len(macs) - 1), key=lambda i: macs[i + 1] - macs[i])
    feasible = Feasible(space=SPACE, budget=Budget(min_macs=macs[gap] + 1, macs=macs[gap] + 2))
    with pytest.raises(BudgetError, match="did not fit the limits"):
        feasible.sample(rng)
