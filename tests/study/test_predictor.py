import numpy as np
import pytest

from helpers import SPACE, evaluated, score
from tinynas import Budget, cost
from tinynas.study.feasible import Feasible
from tinynas.study.history import History
from tinynas.study.predictor import ArchFeatures, Hyperparameters, Predictor, cross_validation, select_points
from tinynas.study.predictor_sampler import PredictorSampler

FEATURES = ArchFeatures(SPACE)


@pytest.fixture
def archs(rng):
    return list(dict.fromkeys(SPACE.sample(rng) for _ in range(80)))


def fit(archs, accuracies):
    features, accuracies = FEATURES(archs), np.array(accuracies)
    return Predictor(Hyperparameters.fit(features, accuracies), features, accuracies)


def test_predictor_ranks_networks_it_has_not_seen(archs):
    fitted = fit(archs[:50], [score(arch) for arch in archs[:50]])
    means, deviations = fitted(FEATURES(archs[50:]))
    true = np.array([score(arch) for arch in archs[50:]])
    assert np.corrcoef(means, true)[0, 1] > 0.9
    assert (deviations > 0).all()


def test_predictor_is_certain_of_evaluated_networks(archs, rng):
    accuracies = [score(arch) + rng.normal() for arch in archs]
    fitted = fit(archs[:50], accuracies[:50])
    means, deviations = fitted(FEATURES(archs[:50]))
    np.testing.assert_allclose(means, accuracies[:50], atol=0.02)
    assert deviations.max() < 0.02
    _, elsewhere = fitted(FEATURES(archs[50:]))
    assert elsewhere.min() > 0.1


def test_pending_networks_reduce_the_deviation_but_leave_the_prediction(archs):
    fitted = fit(archs[:40], [score(arch) for arch in archs[:40]])
    pending, others = FEATURES(archs[40:50]), FEATURES(archs[50:])
    fantasies, _ = fitted(pending)
    believer = fitted.with_evaluations(pending, fantasies)
    means, deviations = fitted(others)
    believed_means, believed_deviations = believer(others)
    np.testing.assert_allclose(believed_means, means, atol=1e-3)
    assert (believed_deviations < deviations + 1e-6).all()
    assert believer(pending)[1].max() < 0.1 * fitted(pending)[1].min()


def test_selected_points_are_the_best_and_others_from_the_best_to_the_worst(rng):
    accuracies = rng.permutation(10_000).astype(float)
    selected = accuracies[select_points(accuracies, 250)]
    assert len(set(selected)) == 250
    assert set(selected) >= set(range(10_000 - 125, 10_000))
    assert selected.min() == 0
    assert np.diff(np.sort(selected)[:125]).max() <= 81
    assert sorted(select_points(accuracies[:250], 250)) == list(range(250))


def test_selected_points_of_a_size_come_before_better_ones_of_another():
    preferred = np.array([True, False] * 500)
    selected = select_points(np.arange(1000.0), 100, preferred=preferred)
    assert selected[:50].tolist() == list(range(998, 898, -2))
    assert not preferred[selected[50:]].all()


def test_held_out_correlation_is_high_for_scores_and_low_for_noise(archs, rng):
    assert cross_validation(SPACE, archs, [score(arch) for arch in archs]).tau > 0.8
    noise = [abs(cross_validation(SPACE, archs, rng.normal(size=len(archs)).tolist()).tau) for _ in range(3)]
    assert np.mean(noise) < 0.25, "it predicts networks that it was fitted on"


@pytest.mark.parametrize("objectives", [(), ("macs",), ("peak_sram", "macs")])
def test_sampler_proposes_new_and_promising_networks_within_the_budget(archs, objectives):
    feasible = Feasible(space=SPACE, budget=Budget(macs=60_000, min_macs=20_000))
    known = [arch for arch in archs if arch in feasible]
    history = History(evaluations=evaluated(feasible, known, score), pending=(), taken=known)
    sampler = PredictorSampler(feasible, objectives=objectives)
    proposals = [sampler.propose(history, np.random.default_rng(i)) for i in range(8)]
    assert all(arch in feasible and arch not in known for arch in proposals)
    if objectives:
        assert max(cost(arch).macs for arch in proposals) > 1.5 * min(cost(arch).macs for arch in proposals)
    else:
        assert np.mean([score(arch) for arch in proposals]) > np.quantile([score(arch) for arch in known], 0.9)
