import numpy as np
import pytest

from helpers import SPACE, run_search, score
from tinynas import Budget
from tinynas.study.samplers import SAMPLERS


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_sampler_keeps_to_the_budget_and_repeats_nothing(tmp_path, sampler):
    budget = Budget(macs=40_000, flash=3_000)
    found = run_search(SPACE, budget, score, journal=tmp_path / "j", trials=50, sampler=sampler)
    assert len({e.arch for e in found}) == 50
    assert all(budget.fits(e.cost) for e in found)
    again = run_search(SPACE, budget, score, journal=tmp_path / "k", trials=50, sampler=sampler)
    assert found == again


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "predictor"])
def test_sampler_learns(tmp_path, sampler):
    """What is found late is better than what a random sampler finds late, on average over seeds."""
    late = {}
    for name in (sampler, "random"):
        means = []
        for seed in range(3):
            found = run_search(
                SPACE, Budget(), score, journal=tmp_path / f"{name}{seed}", trials=60, sampler=name, seed=seed
            )
            means.append(np.mean([e.accuracy for e in found[40:]]))
        late[name] = np.mean(means)
    assert late[sampler] > late["random"]


def test_samplers_are_those_that_the_configuration_allows():
    from tinynas.experiment.config import SAMPLERS as allowed

    assert set(allowed) == set(SAMPLERS)
