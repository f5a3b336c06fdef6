"""Searches for fronts of other costs than MACs, and of two costs."""

import numpy as np
import optuna
import pytest

from helpers import SPACE, sampled_search, score
from tinynas import Budget
from tinynas.study.feasible import Feasible
from tinynas.study.loop import search
from tinynas.study.samplers import SAMPLERS
from tinynas.study.storage import open_storage
from tinynas.utils.errors import InputError
from tinynas.utils.pareto import hypervolume

FEASIBLE = Feasible(space=SPACE, budget=Budget())
TWO = ("peak_sram_tflm", "macs")


def studies_in(path):
    names = optuna.get_all_study_names(open_storage(str(path)))
    return {name: optuna.load_study(study_name=name, storage=open_storage(str(path))) for name in names}


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("objectives", [("flash",), TWO])
def test_study_has_a_direction_for_every_cost_and_resumes(tmp_path, sampler, objectives):
    evaluated = []

    def evaluate(arch):
        evaluated.append(arch)
        return score(arch)

    for trials in (30, 30, 34):
        outcome = search(
            FEASIBLE,
            evaluate,
            storage=str(tmp_path / "journal"),
            trials=trials,
            sampler=sampler,
            objectives=objectives,
        )
        assert len(outcome.evaluations) == len(evaluated) == len(set(evaluated)) == trials
    ((name, study),) = studies_in(tmp_path / "journal").items()
    assert name.startswith(f"front of {', '.join(objectives)}, no limits")
    assert [direction.name for direction in study.directions] == ["MAXIMIZE"] + ["MINIMIZE"] * len(objectives)
    for trial in study.trials:
        costs = [trial.user_attrs["cost"][cost] for cost in objectives]
        assert trial.values[1:] == pytest.approx(np.log10(costs).tolist())


def test_searches_of_other_fronts_share_accuracies_but_no_study(tmp_path):
    calls = []

    def evaluate(arch):
        calls.append(arch)
        return score(arch)

    for objectives in ((), ("macs",), ("flash",), TWO, TWO[::-1]):
        search(FEASIBLE, evaluate, storage=str(tmp_path / "journal"), trials=8, objectives=objectives)
    studies = studies_in(tmp_path / "journal")
    assert [name.partition("no limits")[0] for name in studies] == [
        "",
        "front, ",  # as earlier versions named it
        "front of flash, ",
        "front of peak_sram_tflm, macs, ",
        "front of macs, peak_sram_tflm, ",
    ]
    assert len(calls) == len(set(calls)) == 8, "start points, which are the same"


def test_a_front_of_a_cost_without_a_source_is_an_error(tmp_path):
    def never(arch):
        raise AssertionError("evaluated")

    with pytest.raises(InputError, match="latency of a network is None, but costs of a front must be above 0"):
        search(FEASIBLE, never, storage=str(tmp_path / "journal"), trials=3, objectives=("latency",))


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "predictor"])
def test_sampler_finds_a_larger_front_of_two_costs_than_random_draws(sampler):
    def volume(name, seed):
        evaluations = sampled_search(FEASIBLE, name, score, trials=90, seed=seed, objectives=TWO)
        return hypervolume([e.point(TWO) for e in evaluations], (10**5, 10**6, 0.0))

    volumes = [(volume(sampler, seed), volume("random", seed)) for seed in range(3)]
    assert np.mean([ours for ours, _ in volumes]) > np.mean([random for _, random in volumes]), volumes
