from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import SPACE, budgets
from tinynas import Budget, cost, load_space
from tinynas.arch.own_costs import AddedCosts, OwnCosts
from tinynas.study.feasible import Feasible
from tinynas.utils.errors import BudgetError
from tinynas.utils.io import json_digest

LOW, HIGH = cost(SPACE.min()).macs, cost(SPACE.max()).macs


@pytest.mark.parametrize(("low", "high"), [(2 * LOW, 3 * LOW), (HIGH // 2, HIGH), (HIGH, None), (LOW, LOW)])
def test_feasible_samples_between_two_budgets(low, high, rng):
    feasible = Feasible(space=SPACE, budget=Budget(min_macs=low, macs=high))
    for _ in range(20):
        arch = feasible.sample(rng)
        assert low <= cost(arch).macs <= (high or HIGH)
        assert SPACE.contains(arch)


def test_feasible_spread_goes_from_the_largest_to_the_smallest(rng):
    feasible = Feasible(space=SPACE, budget=Budget(macs=60_000))
    macs = [cost(arch).macs for arch in feasible.start_points(6, rng)]
    assert macs[0] > 50_000
    assert macs[-1] == LOW
    assert macs == sorted(macs, reverse=True)
    assert np.diff(np.log(macs)).min() > -np.log(60_000 / LOW) / 2


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
        BudgetError, match=r"the smallest has macs [\d,]+ \(limit 1,000\), params ([\d,]+) \(limit \1\), sram"
    ):
        Feasible(space=SPACE, budget=Budget(macs=1000, params=smallest.params, peak_sram=64)).check()
    third = OwnCosts(functions={"energy": third_of})
    own = Feasible(space=SPACE, budget=Budget(own={"energy": 0.1}), added=AddedCosts(third, None, SPACE))
    with pytest.raises(BudgetError, match=r"the smallest has energy 0\.3333 \(limit 0\.1\); raise"):
        own.check()


def third_of(arch):
    """A cost without an end of its digits."""
    return 1 / 3


class Slow:
    """A source of measured costs that takes long: sums of counts, with an error of each arch. Counts measurements."""

    digest = "slow"

    def __init__(self, error=0.1):
        self.error, self.measured = error, {}

    def measure(self, arch):
        if arch not in self.measured:
            rng = np.random.default_rng(int(json_digest(arch.to_dict())[:8], 16))
            counts, factors = cost(arch), np.exp(self.error * rng.standard_normal(2))
            latency = (1e-5 + 2e-9 * counts.macs + 3e-9 * counts.flash) * factors[0]
            self.measured[arch] = {"latency": latency, "peak_sram_vela": round(1.2 * counts.peak_sram * factors[1])}
        return self.measured[arch]


MICRO = load_space("micro")
TIGHT = Budget(latency=5e-4, peak_sram_vela=20_000, flash=60_000)


def repaired(feasible, count=30):
    """Repaired random archs, with how many were measured for each."""
    rng, archs = np.random.default_rng(0), []
    before = len(feasible.measured.measured)
    for _ in range(count):
        archs.append(feasible.repair(feasible.space.sample(rng, size_balanced=True), rng))
    return archs, (len(feasible.measured.measured) - before) / count


def test_a_predictor_saves_measurements_and_keeps_limits():
    plain, slow = Slow(), Slow()
    expected, without = repaired(Feasible(space=MICRO, budget=TIGHT, measured=plain))
    feasible = Feasible(space=MICRO, budget=TIGHT, measured=slow).with_predictor()
    assert len(slow.measured) <= 25
    archs, by_predictor = repaired(feasible)
    assert by_predictor < 0.6 * without
    for arch in archs:
        assert arch in slow.measured
        assert TIGHT.fits(feasible.cost_of(arch))
    sizes = [np.mean([np.log(cost(arch).macs) for arch in repaired_archs]) for repaired_archs in (archs, expected)]
    assert sizes[0] > sizes[1] - 0.1


@pytest.mark.parametrize("factor", [1e-3, 0.5, 2.0, 1e3])
def test_a_wrong_predictor_lets_nothing_through(factor, rng):
    slow = Slow()
    feasible = Feasible(space=MICRO, budget=TIGHT, measured=slow).with_predictor()
    wrong = replace(feasible.predictor, factors={"latency": factor, "peak_sram_vela": factor})
    feasible = replace(feasible, predictor=wrong)
    for _ in range(10):
        arch = feasible.repair(MICRO.sample(rng), rng)
        if arch is None:
            assert factor == 1e3  # even the smallest counts as too large
        else:
            assert TIGHT.fits(feasible.cost_of(arch))
    for _ in range(50):
        arch = MICRO.sample(rng)
        assert arch not in feasible or TIGHT.fits(feasible.cost_of(arch))


def test_predictors_do_not_depend_on_what_was_measured_before(rng):
    slow = Slow()
    first = Feasible(space=MICRO, budget=TIGHT, measured=slow).with_predictor()
    repaired(first, 5)
    second = Feasible(space=MICRO, budget=TIGHT, measured=slow).with_predictor()
    arch = MICRO.sample(rng)
    assert first.predictor.measure(arch) == second.predictor.measure(arch)


def test_archs_that_cannot_fit_are_not_measured(rng):
    slow = Slow()
    feasible = Feasible(space=MICRO, budget=TIGHT, measured=slow).with_predictor()
    before = len(slow.measured)
    assert MICRO.max() not in feasible
    assert len(slow.measured) == before


def test_start_points_are_measured_and_fit(rng):
    slow = Slow()
    feasible = Feasible(space=MICRO, budget=TIGHT, measured=slow).with_predictor()
    before = len(slow.measured)
    points = feasible.start_points(6, rng)
    assert len(points) >= 4
    assert all(TIGHT.fits(feasible.cost_of(arch)) for arch in points)
    assert len(slow.measured) - before <= 18


def test_no_predictor_without_measured_limits():
    feasible = Feasible(space=MICRO, budget=Budget(macs=100_000), measured=Slow())
    assert feasible.with_predictor() is feasible
    assert feasible.predicted is feasible


def test_costs_of_functions_are_limited_after_counts_and_before_what_is_measured():
    asked, measured = [], []

    def area(arch):
        asked.append(arch)
        return float(cost(arch).params)

    class Slow:
        digest = "s"

        def measure(self, arch):
            measured.append(arch)
            return {"latency": 1.0}

    largest = cost(SPACE.max())
    own = OwnCosts(functions={"area": area})
    budget = Budget(macs=largest.macs // 3, latency=2.0, own={"area": largest.params / 4})
    feasible = Feasible(space=SPACE, budget=budget, added=AddedCosts(own, None, SPACE), measured=Slow())
    asked.clear()
    archs = [SPACE.sample(np.random.default_rng(number)) for number in range(200)]
    within = [arch for arch in archs if arch in feasible]
    assert 0 < len(within) < 200
    assert all(cost(arch).params <= largest.params / 4 for arch in measured)
    assert all(cost(arch).macs <= largest.macs // 3 for arch in asked)
    assert set(measured) == set(within)
    assert feasible.cost_of(within[0]).named().keys() >= {"area", "latency"}
    assert feasible.values(within[0], ["latency", "area"]) == (1.0, cost(within[0]).params)
    for number in range(20):
        arch = feasible.repair(SPACE.max(), np.random.default_rng(number))
        assert arch in feasible
