"""The search for a threshold of each exit, against all thresholds that there are."""

from itertools import product

import numpy as np
import pytest

from tinynas.early_exit.threshold_search import best_at_price, per_exit_points
from tinynas.early_exit.thresholds import NEVER_EXIT, ThresholdSweep, choose_affordable, choose_fast
from tinynas.utils.errors import InputError

MACS = [10, 35, 100]


def random_sweep(seed, examples=14):
    rng = np.random.default_rng(seed)
    scores = rng.integers(1, 9, (2, examples)) / 10  # with ties
    chance = np.vstack([scores, np.full(examples, 0.9)])
    return ThresholdSweep(scores=scores, correct=rng.random((3, examples)) < chance, macs=MACS)


def value(point, price):
    return point.accuracy / 100 - price * point.macs / MACS[-1]


@pytest.mark.parametrize("price", [0.0, 0.1, 0.5, 3.0])
def test_best_at_price_is_near_the_best_of_all_thresholds(price):
    lost = []
    for seed in range(20):
        sweep = random_sweep(seed)
        levels = [*np.unique(sweep.scores), NEVER_EXIT]
        best = max(value(point, price) for point in sweep.at(product(levels, repeat=2)))
        shared = max(value(point, price) for point in sweep.at([(level,) for level in levels]))
        found = value(best_at_price(sweep, price, MACS), price)
        assert found <= best + 1e-9
        lost.append(best - found)
        assert found > shared - 0.08
    assert np.median(lost) < 1e-9, "the best in most cases"


def test_per_exit_points_are_at_least_as_good_as_shared_thresholds():
    sweep = random_sweep(3, examples=400)
    points = per_exit_points(sweep)
    for budget in (20, 40, 60, 80):
        assert choose_affordable(points, budget).accuracy >= choose_affordable(sweep.curve(), budget).accuracy
    assert max(len(point.thresholds) for point in points) == 2


def test_choose_fast_keeps_a_budget_of_time():
    sweep = random_sweep(4, examples=400)
    seconds = [0.004, 0.005, 0.006]  # the first exit is nearly as slow as the last
    points = per_exit_points(sweep, seconds)
    point = choose_fast(points, 0.0052, seconds)
    assert np.dot(point.shares, seconds) <= 0.0052
    with pytest.raises(InputError, match=r"no threshold is as fast as 1ms on average; the nearest, .*, takes 4ms"):
        choose_fast(points, 0.001, seconds)
