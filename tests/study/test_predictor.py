import numpy as np
import pytest

from helpers import SPACE, score
from tinynas import Budget, cost
from tinynas.study.feasible import Feasible
from tinynas.study.predictor import Predictor, cross_validated_tau, propose


@pytest.fixture
def archs(rng):
    return list(dict.fromkeys(SPACE.sample(rng) for _ in range(80)))


def test_predictor_ranks_networks_it_has_not_seen(archs):
    fitted = Predictor(SPACE, archs[:50], [score(arch) for arch in archs[:50]])
    means, deviations = fitted(fitted.features(archs[50:]))
    true = np.array([score(arch) for arch in archs[50:]])
    assert np.corrcoef(means, true)[0, 1] > 0.9
    assert (deviations > 0).all()


def test_predictor_fits_some_of_many_evaluations_from_the_best_to_the_worst(archs, monkeypatch):
    monkeypatch.setattr("tinynas.study.predictor._MAX_EVALUATIONS", 40)
    fitted = Predictor(SPACE, archs, [score(arch) for arch in archs])
    means, _ = fitted(fitted.features(archs))
    assert len(fitted._model[-1].X_train_) == 40
    assert np.corrcoef(means, [score(arch) for arch in archs])[0, 1] > 0.9


def test_propose_avoids_networks_already_taken(archs):
    feasible, scores = Feasible(space=SPACE, budget=Budget()), [score(arch) for arch in archs]
    taken = []
    for _ in range(3):
        taken.append(propose(feasible, archs, scores, taken=taken, pareto=False, rng=np.random.default_rng(0)))
    assert len(set(taken)) == 3


def test_held_out_correlation_is_high_for_scores_and_low_for_noise(archs, rng):
    assert cross_validated_tau(SPACE, archs, [score(arch) for arch in archs]) > 0.8
    noise = [abs(cross_validated_tau(SPACE, archs, rng.normal(size=len(archs)).tolist())) for _ in range(3)]
    assert np.mean(noise) < 0.25, "it predicts networks that it was fitted on"


@pytest.mark.parametrize("pareto", [False, True])
def test_propose_gives_new_and_promising_networks_within_the_budget(archs, pareto):
    feasible = Feasible(space=SPACE, budget=Budget(macs=60_000, min_macs=20_000))
    known = [arch for arch in archs if arch in feasible]
    scores = [score(arch) for arch in known]
    proposals = [propose(feasible, known, scores, pareto=pareto, rng=np.random.default_rng(i)) for i in range(8)]
    assert all(arch in feasible and arch not in known for arch in proposals)
    if pareto:
        assert max(cost(arch).macs for arch in proposals) > 1.5 * min(cost(arch).macs for arch in proposals)
    else:
        assert np.mean([score(arch) for arch in proposals]) > np.quantile(scores, 0.9)
