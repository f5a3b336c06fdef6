import numpy as np
import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.samplers import NSGAIISampler
from optuna.samplers._tpe.sampler import _split_trials
from optuna.trial import create_trial

from helpers import SPACE, evaluated, score
from tinynas import Budget
from tinynas.arch.cost import quick_cost
from tinynas.study.feasible import Feasible
from tinynas.study.history import History
from tinynas.study.optuna_samplers import NSGAII, _best_of_fronts, choose_evaluations, may_be_best
from tinynas.utils.pareto import pareto_front

FEASIBLE = Feasible(space=SPACE, budget=Budget())
DIRECTIONS = ["maximize", "minimize", "minimize"]
NONE = np.arange(0)
DISTRIBUTIONS = {name: IntDistribution(0, count - 1) for name, count in SPACE.genes().items()}


def test_tpe_reads_all_networks_that_optuna_takes_as_good_ones():
    archs = [SPACE.sample(np.random.default_rng(i)) for i in range(700)]
    evaluations = evaluated(FEASIBLE, archs, score)
    study = optuna.create_study(direction="maximize")
    for evaluation in evaluations:
        study.add_trial(create_trial(value=evaluation.accuracy))
    good, _ = _split_trials(study, study.trials, 25)
    accuracies = np.array([evaluation.accuracy for evaluation in evaluations])
    chosen = choose_evaluations(accuracies[:, None], NONE).tolist()
    assert {trial.number for trial in good} <= set(chosen)
    assert set(range(600, 700)) <= set(chosen), "the newest"
    assert len(chosen) == len(set(chosen)) == 250
    assert len(choose_evaluations(accuracies[:250, None], NONE)) == 250


def test_tpe_reads_the_front_and_what_is_the_front_without_it():
    macs, accuracies = np.arange(1, 101), np.zeros(100)
    accuracies[::10] = np.arange(10, 20)  # a front of 10
    accuracies[1::10] = np.arange(0, 10) + 0.5  # the front without it, of 10
    accuracies[2::5] = -np.arange(20)  # beaten by all before them
    good = _best_of_fronts(np.stack([macs, accuracies], 1), np.arange(len(macs)))
    assert len(good) == len(set(good.tolist())) == 25
    assert set(good[:10]) == set(range(0, 100, 10))
    assert set(good[10:20]) == set(range(1, 100, 10))


def test_tpe_reads_the_front_of_two_costs(rng):
    points = np.column_stack([rng.integers(1, 50, 400), rng.integers(1, 50, 400), rng.integers(0, 9, 400)]).astype(
        float
    )
    good = _best_of_fronts(points, np.arange(len(points)))
    front = pareto_front(range(400), lambda i: tuple(points[i]))
    assert len(set(good.tolist())) == 25
    assert set(good.tolist()) <= set(front) if len(front) > 25 else set(front) <= set(good.tolist())


@pytest.mark.parametrize("objectives", [(), ("macs",), ("peak_sram", "macs")])
def test_nsga2_has_the_parents_that_optuna_has_in_a_study_of_all_trials(objectives):
    def objective(trial):
        genes = {name: trial.suggest_int(name, 0, count - 1) for name, count in SPACE.genes().items()}
        arch = SPACE.decode(genes)
        costs = [np.log10(getattr(quick_cost(arch), name)) for name in objectives]
        return [score(arch) + trial.number * 1e-6, *costs]

    sampler = NSGAIISampler(population_size=20, seed=0)
    study = optuna.create_study(directions=DIRECTIONS[: 1 + len(objectives)], sampler=sampler)
    study.optimize(objective, n_trials=90)
    evaluations = []
    for trial in study.trials:
        evaluations += evaluated(FEASIBLE, [SPACE.decode(trial.params)], lambda arch: trial.values[0])  # noqa: B023
    expected = sorted(trial.number for trial in sampler.get_parent_population(study, 4))

    ours = NSGAII(FEASIBLE, objectives=objectives)
    assert ours.propose(History(evaluations=evaluations, pending=(), taken=()), np.random.default_rng(0))
    parents = sampler.get_parent_population(ours._trials.study(ours._population), 1)
    assert sorted(trial.number for trial in parents) == expected


def test_nsga2_mutates_genes_to_any_option():
    smallest = evaluated(FEASIBLE, [SPACE.min()] * 20, score)
    sampler, seen = NSGAII(FEASIBLE, objectives=()), {}
    for seed in range(300):
        child = sampler.propose(History(evaluations=smallest, pending=(), taken=()), np.random.default_rng(seed))
        for name, index in SPACE.encode(child).items():
            seen.setdefault(name, set()).add(index)
    depth = {name: indices for name, indices in seen.items() if name.endswith("depth") or name == "resolution"}
    assert depth == {name: set(range(SPACE.genes()[name])) for name in depth}


@pytest.mark.parametrize("num_costs", [1, 2])
def test_best_of_fronts_are_among_those_that_few_others_beat(num_costs, rng):
    """Also where evaluations are read some at a time, and those that were left out are not looked at again."""
    points = rng.integers(0, 40, (600, num_costs + 1)).astype(float)  # with many equal values
    candidates = NONE
    for start in range(0, 600, 7):
        end = min(start + 7, 600)
        candidates = may_be_best(points[:end], np.append(candidates, np.arange(start, end)))
        if end >= 25:
            expected = _best_of_fronts(points[:end], np.arange(end))
            assert _best_of_fronts(points[:end], candidates).tolist() == expected.tolist()
    assert len(candidates) < 400
