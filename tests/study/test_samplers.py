from functools import cache

import numpy as np
import pytest

from helpers import SPACE, run_search, score
from tinynas import Budget
from tinynas.study.samplers import SAMPLERS


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_sampler_keeps_to_the_budget_and_repeats_nothing(tmp_path, sampler):
    budget = Budget(macs=40_000, flash=3_000)
    evaluations = run_search(SPACE, budget, score, journal=tmp_path / "j", trials=30, sampler=sampler)
    assert len({e.arch for e in evaluations}) == 30
    assert all(budget.fits(e.cost) for e in evaluations)
    again = run_search(SPACE, budget, score, journal=tmp_path / "k", trials=30, sampler=sampler)
    assert evaluations == again


@pytest.fixture(scope="module")
def late_mean(tmp_path_factory):
    """The mean score of the networks that a sampler evaluates late, over seeds."""

    @cache
    def mean(sampler):
        means = []
        for seed in range(3):
            journal = tmp_path_factory.mktemp("study") / "journal"
            evaluations = run_search(SPACE, Budget(), score, journal=journal, trials=40, sampler=sampler, seed=seed)
            means.append(np.mean([evaluation.accuracy for evaluation in evaluations[25:]]))
        return np.mean(means)

    return mean


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "predictor"])
def test_sampler_learns(late_mean, sampler):
    assert late_mean(sampler) > late_mean("random")


def test_samplers_are_those_that_the_configuration_allows():
    from tinynas.experiment.search_settings import SAMPLERS as allowed

    assert set(allowed) == set(SAMPLERS)
