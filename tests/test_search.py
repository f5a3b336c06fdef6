import numpy as np
import optuna
import pytest
from conftest import SMALL
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinynas import Budget, SearchSpace, cost
from tinynas.study.feasible import Feasible
from tinynas.study.loop import search as search_feasible
from tinynas.study.samplers import SAMPLERS
from tinynas.utils.errors import BudgetError, FileError

SPACE = SearchSpace.from_dict(SMALL)


def search(space, budget, evaluate, *, journal, **settings):
    return search_feasible(Feasible(space=space, budget=budget), evaluate, storage=str(journal), **settings)


def score(arch):
    """Stands for accuracy: rises with size, and a little with kernels."""
    kernels = sum(block.kernel for stage in arch.stages for block in stage)
    return float(np.log(cost(arch).params) + 0.05 * kernels)


def limits(name):
    low, high = getattr(cost(SPACE.min()), name), getattr(cost(SPACE.max()), name)
    return st.one_of(st.none(), st.integers(low, high))


budgets = st.builds(
    Budget, macs=limits("macs"), params=limits("params"), peak_sram=limits("peak_sram"), flash=limits("flash")
)


@given(budget=budgets, seed=st.integers(0, 1000))
@settings(max_examples=200, deadline=None)
def test_repair_always_ends_within_the_budget(budget, seed):
    rng = np.random.default_rng(seed)
    arch = Feasible(space=SPACE, budget=budget).repair(SPACE.sample(rng), rng)
    assert budget.fits(cost(arch))
    assert SPACE.contains(arch)


@given(budget=budgets, seed=st.integers(0, 1000))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_network_over_the_budget_is_evaluated_or_returned(tmp_path_factory, budget, seed):
    evaluated = []

    def evaluate(arch):
        evaluated.append(arch)
        return score(arch)

    journal = tmp_path_factory.mktemp("study") / "study.journal"
    found = search(SPACE, budget, evaluate, journal=journal, trials=25, seed=seed)
    assert all(budget.fits(cost(arch)) for arch in evaluated)
    assert {e.arch for e in found} == set(evaluated)
    assert len(evaluated) == len(set(evaluated)), "a network was evaluated twice"
    assert SPACE.min() in evaluated


def test_a_search_finds_better_networks_than_its_first(tmp_path):
    budget = Budget(macs=60_000)
    found = search(SPACE, budget, score, journal=tmp_path / "j", trials=80)
    assert len(found) == 80
    assert max(e.accuracy for e in found[40:]) > max(e.accuracy for e in found[:20])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_keeps_to_the_budget_and_repeats_nothing(tmp_path, sampler):
    budget = Budget(macs=40_000, flash=3_000)
    found = search(SPACE, budget, score, journal=tmp_path / "j", trials=50, sampler=sampler)
    assert len({e.arch for e in found}) == 50
    assert all(budget.fits(e.cost) for e in found)
    again = search(SPACE, budget, score, journal=tmp_path / "k", trials=50, sampler=sampler)
    assert found == again


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "predictor"])
def test_samplers_learn(tmp_path, sampler):
    """What is found late is better than what a random sampler finds late, on average over seeds."""
    late = {}
    for name in (sampler, "random"):
        means = []
        for seed in range(3):
            found = search(
                SPACE, Budget(), score, journal=tmp_path / f"{name}{seed}", trials=60, sampler=name, seed=seed
            )
            means.append(np.mean([e.accuracy for e in found[40:]]))
        late[name] = np.mean(means)
    assert late[sampler] > late["random"]


def test_a_small_space_is_searched_to_its_end(tmp_path):
    plain = {**SMALL, "stages": [{"width": [4, 8], "kernel": [3, 5], "stride": 2}], "head": {}, "resolution": 8}
    space = SearchSpace.from_dict({**plain, "stem": {"width": 4}})
    found = search(space, Budget(), score, journal=tmp_path / "j", trials=50)
    assert len({e.arch for e in found}) == len(found) == 4


def test_a_budget_that_nothing_fits_names_the_smallest_networks_cost():
    smallest = cost(SPACE.min())
    with pytest.raises(
        BudgetError, match=r"the smallest has macs [\d,]+ \(limit 1,000\), params ([\d,]+) \(limit \1\), peak_sram"
    ):
        Feasible(space=SPACE, budget=Budget(macs=1000, params=smallest.params, peak_sram=64)).check()


def test_an_interrupted_search_goes_on_and_ends_as_if_it_had_not_been(tmp_path):
    budget = Budget(macs=60_000)
    whole = search(SPACE, budget, score, journal=tmp_path / "whole", trials=30)

    def interrupted(arch):
        calls.append(arch)
        if len(calls) == 17:
            raise KeyboardInterrupt
        return score(arch)

    calls = []
    with pytest.raises(KeyboardInterrupt):
        search(SPACE, budget, interrupted, journal=tmp_path / "cut", trials=30)
    resumed = search(SPACE, budget, score, journal=tmp_path / "cut", trials=30)
    assert len(resumed) == 30
    assert resumed == whole


def test_other_limits_use_what_is_known(tmp_path):
    evaluated = []

    def evaluate(arch):
        evaluated.append(arch)
        return score(arch)

    for macs in (60_000, 50_000, 60_000):
        found = search(SPACE, Budget(macs=macs), evaluate, journal=tmp_path / "j", trials=20)
        assert all(e.cost.macs <= macs for e in found)
    assert len(evaluated) == len(set(evaluated))


def test_other_weights_are_evaluated_anew(tmp_path):
    calls = []
    for weights in ("old", "new"):
        search(SPACE, Budget(), lambda a: calls.append(a) or 1.0, journal=tmp_path / "j", trials=3, weights=weights)
    assert len(calls) == 6


@pytest.mark.parametrize("cut", [1, 5, 30, 60])
def test_a_journal_cut_off_in_a_line_goes_on(tmp_path, cut):
    journal = tmp_path / "j"
    search(SPACE, Budget(), score, journal=journal, trials=5)
    journal.write_bytes(journal.read_bytes()[:-cut])
    assert len(search(SPACE, Budget(), score, journal=journal, trials=8)) == 8
    assert len(search(SPACE, Budget(), score, journal=journal, trials=9)) == 9


def test_a_space_of_one_network_is_evaluated_once(tmp_path):
    plain = {"resolution": 8, "stem": {"width": 4}, "stages": [{"width": 4, "kernel": 3}]}
    found = search(SearchSpace.from_dict(plain), Budget(), score, journal=tmp_path / "j", trials=10)
    assert len(found) == 1


def test_the_study_opens_in_optuna_with_its_constraints(tmp_path):
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    search(SPACE, Budget(macs=60_000, flash=10_000), score, journal=tmp_path / "j", trials=10, weights="abc")
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "j")))
    study = optuna.load_study(study_name="macs <= 60000, flash <= 10000 of supernet abc", storage=storage)
    assert len(study.trials) == 10
    for trial in study.trials:
        assert SPACE.decode(trial.params).to_dict() == trial.user_attrs["arch"]
        assert set(trial.constraints) == {"macs", "flash"}
        assert all(value <= 0 for value in trial.constraints.values())


def test_a_damaged_study_is_named(tmp_path):
    (tmp_path / "j").write_text("{not json\n{}\n")
    with pytest.raises(FileError, match="cannot use the study in"):
        search(SPACE, Budget(), score, journal=tmp_path / "j", trials=2)
