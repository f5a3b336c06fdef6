from math import log10

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna._hypervolume import compute_hypervolume

from tinynas.utils.pareto import hypervolume, pareto_front

POINTS = [(10, 50.0), (20, 70.0), (20, 60.0), (30, 65.0), (40, 80.0), (5, 50.0)]


def test_front_holds_what_nothing_beats():
    assert pareto_front(POINTS) == [(5, 50.0), (20, 70.0), (40, 80.0)]
    assert pareto_front([]) == []


points = st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 100).map(float)), min_size=1, max_size=30)


@given(points)
def test_front_holds_or_beats_every_point(points):
    best = pareto_front(points)
    for macs, accuracy in points:
        assert any(m <= macs and a >= accuracy for m, a in best)
    for point in best:
        assert not any(m <= point[0] and a >= point[1] and (m, a) != point for m, a in points)


def test_hypervolume_is_the_area_over_log_macs():
    reference = (1000, 40.0)
    assert hypervolume([(100, 50.0)], reference) == pytest.approx(10.0)
    assert hypervolume([(10, 50.0), (100, 70.0)], reference) == pytest.approx(10 * 1 + 30 * 1)
    assert hypervolume([(10, 50.0), (50, 45.0)], reference) == pytest.approx(20.0)  # a beaten point adds nothing
    assert hypervolume([(2000, 90.0), (10, 30.0)], reference) == 0  # beyond the reference
    assert hypervolume(POINTS, reference) == pytest.approx(10 * log10(4) + 30 * log10(2) + 40 * log10(25))


@given(points, st.tuples(st.integers(1, 1000), st.integers(0, 100).map(float)))
def test_hypervolume_never_falls_with_a_further_point(points, point):
    reference = (1000, 0.0)
    assert hypervolume([*points, point], reference) >= hypervolume(points, reference) - 1e-9


points_of_two_costs = st.lists(
    st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(0, 30).map(float)), min_size=1, max_size=40
)


def is_beaten(point, points):
    """Whether another point is no worse in anything and better in something."""
    *costs, accuracy = point
    for *others, other in points:
        if (*others, other) != point and other >= accuracy and all(o <= c for o, c in zip(others, costs, strict=True)):
            return True
    return False


@given(points_of_two_costs)
def test_front_of_two_costs_is_all_that_nothing_beats(points):
    best = pareto_front(points)
    assert set(best) == {point for point in points if not is_beaten(point, points)}
    assert best == sorted(set(best))


def test_front_keeps_the_first_of_equal_points():
    items = [("late", (2, 2, 9.0)), ("first", (1, 1, 5.0)), ("second", (1, 1, 5.0))]
    assert [name for name, _ in pareto_front(items, lambda item: item[1])] == ["first", "late"]


@given(points_of_two_costs)
def test_hypervolume_is_that_of_optuna(points):
    within = [(a, b, accuracy) for a, b, accuracy in points if a <= 25 and b <= 25 and accuracy >= 5]
    losses = np.array([[log10(a), log10(b), -accuracy] for a, b, accuracy in within]).reshape(-1, 3)
    limits = np.array([log10(25), log10(25), -5.0])
    assert hypervolume(points, (25, 25, 5.0)) == pytest.approx(compute_hypervolume(losses, limits), abs=1e-9)
    expected = compute_hypervolume(losses[:, [0, 2]], limits[[0, 2]])
    flat = [(a, accuracy) for a, _, accuracy in within]
    assert hypervolume(flat, (25, 5.0)) == pytest.approx(expected, abs=1e-9)
