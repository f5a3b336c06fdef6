import time
from functools import cache, partial

import numpy as np
import pytest

from helpers import SPACE, TINY, evaluated, sampled_search, score
from tinynas import Budget, augment, load_space
from tinynas.arch.cost import quick_cost
from tinynas.study.feasible import Feasible
from tinynas.study.history import History
from tinynas.study.samplers import SAMPLERS, FeasibleSampler

FEASIBLE = Feasible(space=SPACE, budget=Budget(macs=40_000, flash=3_000))
SMALL = Feasible(space=SPACE, budget=Budget())
MICRO = Feasible(space=load_space("micro-v1"), budget=Budget())


@pytest.mark.parametrize("objectives", [(), ("macs",), ("peak_sram_tflm", "macs")])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_sampler_keeps_to_the_budget_and_repeats_nothing(sampler, objectives):
    search = partial(sampled_search, FEASIBLE, sampler, score, trials=30, objectives=objectives)
    evaluations = search()
    assert len({e.arch for e in evaluations}) == 30
    assert all(FEASIBLE.budget.fits(e.cost) for e in evaluations)
    assert search() == evaluations
    assert search(seed=1) != evaluations


@pytest.fixture(scope="module")
def late_mean():
    """The mean score of the networks that a sampler evaluates late, over seeds."""

    @cache
    def mean(sampler):
        means = []
        for seed in range(3):
            evaluations = sampled_search(SMALL, sampler, score, trials=45, seed=seed)
            means.append(np.mean([evaluation.accuracy for evaluation in evaluations[30:]]))
        return np.mean(means)

    return mean


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "predictor"])
def test_sampler_learns(late_mean, sampler):
    assert late_mean(sampler) > late_mean("random")


@pytest.mark.parametrize("objectives", [(), ("macs",), ("peak_sram_tflm", "macs")])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_sampler_of_a_resumed_search_proposes_what_one_that_was_not_interrupted_would_have(sampler, objectives):
    archs = list(dict.fromkeys(MICRO.sample(np.random.default_rng(i)) for i in range(310)))[:300]
    evaluations, pending = evaluated(MICRO, archs[:290], score), archs[290:]
    kept = SAMPLERS[sampler](MICRO, objectives=objectives)
    for number in (5, 24, 47, 131, 290):
        history = History(evaluations=evaluations[:number], pending=pending, taken=archs)
        resumed = SAMPLERS[sampler](MICRO, objectives=objectives)
        proposals = [made.propose(history, np.random.default_rng(number)) for made in (kept, resumed)]
        assert proposals[0] == proposals[1]
        assert (proposals[0] is None) == (sampler != "random" and number == 5)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("number", [0, 1, 10, 40])
def test_sampler_copes_with_few_evaluations_and_equal_accuracies(sampler, number):
    archs = list(dict.fromkeys(MICRO.sample(np.random.default_rng(i)) for i in range(50)))
    history = History(
        evaluations=evaluated(MICRO, archs[:number], lambda arch: 50.0), pending=archs[number:41], taken=archs
    )
    for objectives in ((), ("macs",), ("peak_sram", "flash")):
        proposals = FeasibleSampler(MICRO, SAMPLERS[sampler](MICRO, objectives=objectives))
        assert proposals.propose(history, np.random.default_rng(0)) not in archs


def test_the_last_network_is_proposed_and_none_after_it():
    space = augment(TINY, width=[1.0, 2.0], expand=[1.0, 2.0, 3.0])
    feasible = Feasible(space=space, budget=Budget())
    archs = list({space.sample(np.random.default_rng(i)) for i in range(100)})
    for number in (len(archs) - 1, len(archs)):
        history = History(evaluations=evaluated(feasible, archs[:number], score), pending=(), taken=archs[:number])
        proposals = FeasibleSampler(feasible, SAMPLERS["tpe"](feasible, objectives=()))
        assert [proposals.propose(history, np.random.default_rng(0))] == (archs[number:] or [None])


def test_infeasible_samples_are_counted():
    proposals = FeasibleSampler(FEASIBLE, SAMPLERS["random"](FEASIBLE, objectives=()))
    history = History(evaluations=(), pending=(), taken=())
    accepted = sum(SPACE.sample(np.random.default_rng(i)) in FEASIBLE for i in range(2000)) / 2000
    counts = []
    for number in range(100):
        before = proposals.rejected
        proposals.propose(history, np.random.default_rng(number))
        counts.append(proposals.rejected - before)
    expected = sum((1 - accepted) ** k for k in range(1, 11))  # at most ten in a row, then repair
    assert np.mean(counts) == pytest.approx(expected, abs=4 * np.std(counts) / 10)


def mean_distance(archs):
    """The mean number of genes in which two archs differ."""
    genes = np.array([list(MICRO.space.encode(arch).values()) for arch in archs])
    differences = (genes[:, None] != genes[None]).sum(-1)
    return differences.sum() / (len(archs) * (len(archs) - 1))


def test_workers_do_not_propose_alike_by_the_predictor():
    evaluations = sampled_search(MICRO, "nsga2", score, trials=60)
    archs = [evaluation.arch for evaluation in evaluations]
    distances = []
    for has_pending in (True, False):  # else workers only do not repeat networks
        sampler, begun = FeasibleSampler(MICRO, SAMPLERS["predictor"](MICRO, objectives=())), []
        for number in range(64):
            history = History(evaluations=evaluations, pending=begun if has_pending else (), taken={*archs, *begun})
            begun.append(sampler.propose(history, np.random.default_rng(number)))
        assert len({*archs, *begun}) == 60 + 64
        distances.append(mean_distance(begun))
    assert distances[0] > distances[1]


def test_tpe_repeats_pending_networks_less_often():
    evaluations, repeats = sampled_search(MICRO, "tpe", score, trials=100), []
    sampler, pending = SAMPLERS["tpe"](MICRO, objectives=()), []
    for _ in range(2):
        history = History(evaluations=evaluations, pending=pending, taken=())
        proposals = [sampler.propose(history, np.random.default_rng(seed)) for seed in range(60)]
        if not pending:
            pending = list(dict.fromkeys(proposals))
        repeats.append(sum(arch in pending for arch in proposals))
    assert repeats[0] == 60
    assert repeats[1] < 45, repeats


@pytest.mark.slow
@pytest.mark.parametrize("objectives", [(), ("macs",), ("peak_sram_tflm", "macs")])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_proposal_after_thousands_of_evaluations_takes_as_long_as_after_a_hundred(sampler, objectives):
    archs = list(dict.fromkeys(MICRO.sample(np.random.default_rng(i)) for i in range(5000)))
    evaluations = evaluated(MICRO, archs, lambda arch: np.log(quick_cost(arch).params))
    samplers = {number: SAMPLERS[sampler](MICRO, objectives=objectives) for number in (100, len(archs))}

    def seconds(number, seed):
        history = History(evaluations=evaluations[:number], pending=(), taken=set(archs[:number]))
        begin = time.process_time()
        samplers[number].propose(history, np.random.default_rng(seed))
        return time.process_time() - begin

    def quickest(number, times=15):
        seconds(number, 0)  # fits a model, which later proposals use again
        return min(seconds(number, seed) for seed in range(times))

    ratios = []
    for _ in range(5):  # the speed of a busy machine changes: one of a few comparisons side by side is fair
        ratios.append((quickest(len(archs)) - 2e-3) / quickest(100))
    assert min(ratios) < 1.5, ratios  # work that grows with the evaluations would be 50 times as much


def test_samplers_are_those_that_the_configuration_allows():
    from tinynas.experiment.search_settings import SAMPLERS as allowed

    assert set(allowed) == set(SAMPLERS)
