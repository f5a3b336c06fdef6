from itertools import pairwise

import numpy as np
import pytest

from tinynas.early_exit.thresholds import (
    NEVER_EXIT,
    ThresholdSweep,
    candidate_thresholds,
    choose_accurate,
    choose_affordable,
    oracle_exits,
    random_exits,
    spaced_thresholds,
)
from tinynas.utils.errors import InputError

# three images, two early exits and the whole network
SCORES = np.array([[0.9, 0.4, 0.2], [0.5, 0.8, 0.3]])

CORRECT = np.array([[True, False, False], [False, True, False], [True, True, True]])
MACS = [10, 20, 30]


def hand_made():
    return ThresholdSweep(scores=SCORES, correct=CORRECT, macs=MACS)


@pytest.mark.parametrize(
    ("threshold", "shares", "hits"),
    [
        (0.0, (3, 0, 0), 1),
        (0.4, (2, 0, 1), 2),
        (0.41, (1, 1, 1), 3),
        (0.85, (1, 0, 2), 3),
        (NEVER_EXIT, (0, 0, 3), 3),
    ],
)
def test_threshold_sweep_at_a_threshold(threshold, shares, hits):
    (point,) = hand_made().at([[threshold]])
    assert point.shares == tuple(share / 3 for share in shares)
    assert point.accuracy == pytest.approx(100 * hits / 3)
    assert point.macs == pytest.approx(np.dot(shares, MACS) / 3)


def test_candidate_thresholds_rise_between_the_ends():
    candidates = candidate_thresholds(SCORES)
    assert candidates[0] == (0,) and candidates[-1] == (NEVER_EXIT,)  # noqa: PT018
    assert all(a < b for a, b in pairwise(candidates))
    assert {threshold for (threshold,) in candidates[1:-1]} <= set(SCORES.flatten())


def test_choose_takes_the_best_point_within_a_target():
    curve = hand_made().curve()
    assert choose_accurate(curve, 100).macs == 20
    assert choose_affordable(curve, 17).accuracy == pytest.approx(200 / 3)
    with pytest.raises(InputError, match=r"no threshold reaches 101.00% on search-val; the nearest, .*, reaches 100"):
        choose_accurate(curve, 101)
    with pytest.raises(InputError, match="as little as 5 MACs on average; the nearest, 0, needs 10"):
        choose_affordable(curve, 5)


def test_oracle_and_random_exits_bound_the_curve():
    expected = [(10, 100 / 3), (40 / 3, 200 / 3), (20, 100), (30, 100)]
    assert np.allclose(oracle_exits(CORRECT, MACS), expected)
    chance = random_exits(CORRECT, MACS)
    assert chance[0] == (10, pytest.approx(100 / 3))
    assert chance[-1] == (30, pytest.approx(100))
    assert all(a[0] < b[0] for a, b in pairwise(chance))


def test_threshold_sweep_chooses_points_to_compare_without_the_test_split():
    rng = np.random.default_rng(0)
    correct = rng.random((2, 400)) < np.array([[0.6], [0.9]])
    confidences = np.clip(correct * 0.3 + rng.random((2, 400)) * 0.7, 0, 1)
    sweep = ThresholdSweep(scores=confidences[:1], correct=correct, macs=[10, 100])
    points = sweep.at(spaced_thresholds(sweep.curve()))
    assert 3 < len(points) <= 7
    assert points[-1].accuracy == max(point.accuracy for point in sweep.curve())
    assert points[0].accuracy > points[-1].accuracy - 10
    pairs = [(point.macs, point.accuracy) for point in points]
    assert pairs == sorted(pairs), "more MACs, more accuracy"
