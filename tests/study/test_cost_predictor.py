from dataclasses import replace

import numpy as np
import pytest

from helpers import SPACE
from tinynas import load_space
from tinynas.arch.cost import quick_cost
from tinynas.study.cost_predictor import CostPredictor


def additive(arch):
    """Costs that are sums of counts."""
    counts = quick_cost(arch)
    return {"latency": 1e-5 + 2e-9 * counts.macs + 3e-9 * counts.flash, "peak_sram_vela": 1.25 * counts.peak_sram + 99}


def archs_of(space, count):
    rng = np.random.default_rng(0)
    return [space.sample(rng) for _ in range(count)]


def test_sums_of_counts_are_predicted_exactly(any_space):
    archs = archs_of(any_space, 60)
    predictor = CostPredictor.fit(archs[:40], [additive(arch) for arch in archs[:40]])
    for arch in archs[40:]:
        assert predictor.measure(arch) == pytest.approx(additive(arch), rel=1e-3)
    assert max(np.abs(errors).max() for errors in predictor.errors.values()) < 0.01


def test_errors_are_those_of_predictors_without_the_arch():
    rng = np.random.default_rng(1)
    archs = archs_of(SPACE, 15)
    costs = [
        {"latency": additive(arch)["latency"] * factor}
        for arch, factor in zip(archs, rng.uniform(0.7, 1.4, 15), strict=True)
    ]
    expected = []
    for number in range(15):
        others = CostPredictor.fit(archs[:number] + archs[number + 1 :], costs[:number] + costs[number + 1 :])
        expected.append(others.measure(archs[number])["latency"] / costs[number]["latency"] - 1)
    assert CostPredictor.fit(archs, costs).errors["latency"] == pytest.approx(expected)
    assert max(map(abs, expected)) > 0.1


def test_a_single_arch_is_enough():
    predictor = CostPredictor.fit([SPACE.min()], [{"latency": 2.0}])
    assert predictor.measure(SPACE.min()) == pytest.approx({"latency": 2.0})


def test_lower_bounds_are_below_by_the_largest_overestimate():
    predictor = CostPredictor.fit([SPACE.min()], [{"latency": 2.0}])
    pessimistic = replace(predictor, errors={"latency": np.array([-0.9, 0.1, 0.6])})
    assert pessimistic.lower_bounds(SPACE.min()) == pytest.approx({"latency": 2.0 / 1.6})
    optimistic = replace(predictor, errors={"latency": np.array([-0.9, -0.2])})
    assert optimistic.lower_bounds(SPACE.min()) == pytest.approx({"latency": 2.0})


def test_a_correction_scales_all_predictions():
    archs = archs_of(load_space("micro"), 30)
    predictor = CostPredictor.fit(archs, [additive(arch) for arch in archs])
    measured = {"latency": 0.5, "peak_sram_vela": 7.0}
    corrected = predictor.corrected(archs[0], {"latency": 3.0, "peak_sram_vela": 4.0}).corrected(archs[1], measured)
    assert corrected.measure(archs[1]) == pytest.approx(measured)
    before, after = predictor.measure(archs[2]), corrected.measure(archs[2])
    for name, cost in measured.items():
        assert after[name] / before[name] == pytest.approx(cost / predictor.measure(archs[1])[name])
