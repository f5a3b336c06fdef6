import re
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import SMALL, SPACE, budgets, run_search, score
from tinynas import Budget, SearchSpace, cost
from tinynas.study.feasible import Feasible
from tinynas.study.history import CannotWinError, NoNumberError
from tinynas.study.index import TrialIndex, failed_because
from tinynas.study.loop import search
from tinynas.study.samplers import SAMPLERS
from tinynas.study.storage import open_storage
from tinynas.utils.errors import EvaluationError, FileError
from tinynas.utils.rng import generator


@dataclass
class MillisecondPerBlock:
    """A source of latencies that remembers what it was asked for."""

    digest: str = ""
    factor: int = 1
    times: dict = field(default_factory=dict)

    def measure(self, arch):
        assert cost(arch).macs <= 60_000, "measured though its counts do not fit"
        self.times[arch] = 1e-3 * self.factor * sum(len(stage) for stage in arch.stages)
        return {"latency": self.times[arch]}


def test_search_evaluates_only_networks_within_the_latency(tmp_path):
    source = MillisecondPerBlock()
    feasible = Feasible(space=SPACE, budget=Budget(macs=60_000, latency=3e-3), measured=source)
    evaluations = search(
        feasible, lambda arch: float(cost(arch).macs), storage=str(tmp_path / "j"), trials=20
    ).evaluations
    assert len(evaluations) == 20
    assert all(e.cost.latency == source.times[e.arch] <= 3e-3 for e in evaluations)
    assert any(seconds > 3e-3 for seconds in source.times.values()), "the limit decided nothing"


def test_search_keeps_the_latencies_of_several_sources_apart(tmp_path):
    evaluated = []

    def evaluate(arch):
        evaluated.append(arch)
        return score(arch)

    for source in (MillisecondPerBlock(), MillisecondPerBlock("table", factor=2), MillisecondPerBlock("table")):
        feasible = Feasible(space=SPACE, budget=Budget(macs=60_000, latency=4e-3), measured=source)
        evaluations = search(feasible, evaluate, storage=str(tmp_path / "j"), trials=10).evaluations
        factor = 2 if source.digest else 1
        for evaluation in evaluations:
            blocks = sum(len(stage) for stage in evaluation.arch.stages)
            assert evaluation.cost.latency == 1e-3 * factor * blocks <= 4e-3
    assert len(evaluated) == len(set(evaluated)), "an accuracy was not taken from the other study"


@given(budget=budgets, seed=st.integers(0, 1000))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_search_evaluates_and_returns_no_network_over_the_budget(tmp_path_factory, budget, seed):
    evaluated = []

    def evaluate(arch):
        evaluated.append(arch)
        return score(arch)

    journal = tmp_path_factory.mktemp("study") / "study.journal"
    evaluations = run_search(SPACE, budget, evaluate, journal=journal, trials=20, seed=seed)
    assert all(budget.fits(cost(arch)) for arch in evaluated)
    assert {e.arch for e in evaluations} == set(evaluated)
    assert len(evaluated) == len(set(evaluated)), "a network was evaluated twice"
    assert SPACE.min() in evaluated


def test_search_finds_better_networks_than_its_first(tmp_path):
    budget = Budget(macs=60_000)
    evaluations = run_search(SPACE, budget, score, journal=tmp_path / "j", trials=50)
    assert len(evaluations) == 50
    assert max(e.accuracy for e in evaluations[25:]) > max(e.accuracy for e in evaluations[:25])


def test_search_exhausts_a_small_space(tmp_path):
    plain = {**SMALL, "stages": [{"width": [4, 8], "kernel": [3, 5], "stride": 2}], "head": {}, "resolution": 8}
    space = SearchSpace.from_dict({**plain, "stem": {"width": 4}})
    evaluations = run_search(space, Budget(), score, journal=tmp_path / "j", trials=50)
    assert len({e.arch for e in evaluations}) == len(evaluations) == 4


def test_search_resumes_as_if_it_had_not_been_interrupted(tmp_path):
    budget = Budget(macs=60_000)
    whole = run_search(SPACE, budget, score, journal=tmp_path / "whole", trials=30)

    def interrupted(arch):
        calls.append(arch)
        if len(calls) == 17:
            raise KeyboardInterrupt
        return score(arch)

    calls = []
    with pytest.raises(KeyboardInterrupt):
        run_search(SPACE, budget, interrupted, journal=tmp_path / "cut", trials=30)
    resumed = run_search(SPACE, budget, score, journal=tmp_path / "cut", trials=30)
    assert len(resumed) == 30
    assert resumed == whole


def test_search_with_other_limits_reuses_evaluations(tmp_path):
    evaluated = []

    def evaluate(arch):
        evaluated.append(arch)
        return score(arch)

    for macs in (60_000, 50_000, 60_000):
        evaluations = run_search(SPACE, Budget(macs=macs), evaluate, journal=tmp_path / "j", trials=20)
        assert all(e.cost.macs <= macs for e in evaluations)
    assert len(evaluated) == len(set(evaluated))


def test_search_evaluates_other_weights_again(tmp_path):
    calls = []
    for weights in ("old", "new"):
        run_search(SPACE, Budget(), lambda a: calls.append(a) or 1.0, journal=tmp_path / "j", trials=3, weights=weights)
    assert len(calls) == 6


@pytest.mark.parametrize("cut", [1, 5, 30, 60])
def test_search_resumes_a_journal_cut_off_in_a_line(tmp_path, cut):
    journal = tmp_path / "j"
    run_search(SPACE, Budget(), score, journal=journal, trials=5)
    journal.write_bytes(journal.read_bytes()[:-cut])
    assert len(run_search(SPACE, Budget(), score, journal=journal, trials=8)) == 8
    assert len(run_search(SPACE, Budget(), score, journal=journal, trials=9)) == 9


def test_search_evaluates_a_space_of_one_network_once(tmp_path):
    plain = {"resolution": 8, "stem": {"width": 4}, "stages": [{"width": 4, "kernel": 3}]}
    evaluations = run_search(SearchSpace.from_dict(plain), Budget(), score, journal=tmp_path / "j", trials=10)
    assert len(evaluations) == 1


def test_search_writes_a_study_that_opens_in_optuna_with_its_constraints(tmp_path):
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    run_search(
        SPACE, Budget(macs=60_000, flash=10_000), score, journal=tmp_path / "j", trials=10, weights="supernet abc"
    )
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "j")))
    study = optuna.load_study(study_name="macs <= 60000, flash <= 10000 of supernet abc", storage=storage)
    assert len(study.trials) == 10
    for trial in study.trials:
        assert cost(SPACE.decode(trial.params)).to_dict() == trial.user_attrs["cost"]
        assert set(trial.constraints) == {"macs", "flash"}
        assert all(value <= 0 for value in trial.constraints.values())


def test_search_names_a_damaged_study(tmp_path):
    (tmp_path / "j").write_text("{not json\n{}\n")
    with pytest.raises(FileError, match="cannot use the study in"):
        run_search(SPACE, Budget(), score, journal=tmp_path / "j", trials=2)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[81.25", "[91.25"),
        ('"peak_sram":', '"peak_sram":1'),
        ('"stem.out":0', '"stem.out":1'),
        ('"state":1', '"state":3'),
    ],
)
def test_search_refuses_a_study_that_was_changed(tmp_path, before, after):
    """In the study itself, and in one with other limits that has the accuracy of a network."""
    journal = tmp_path / "j"
    run_search(SPACE, Budget(macs=60_000), lambda arch: 81.25, journal=journal, trials=4)
    intact = journal.read_text()
    assert before in intact
    journal.write_text(intact.replace(before, after, 1))
    for limit in (60_000, 50_000):
        with pytest.raises(
            FileError, match=r"study in .*j: line \d+ is damaged, .*; or start a new search with another"
        ):
            run_search(SPACE, Budget(macs=limit), score, journal=journal, trials=4)


def test_search_with_other_limits_begins_with_the_best_known_network_that_keeps_them(tmp_path):
    journal, called = tmp_path / "j", []

    def accuracy(arch):
        called.append(arch)
        return -float(cost(arch).macs)

    narrow = run_search(SPACE, Budget(macs=60_000), accuracy, journal=journal, trials=6)
    best, worst = narrow[-1].arch, narrow[0].arch
    assert cost(best).macs < cost(worst).macs
    called.clear()
    wide = run_search(SPACE, Budget(macs=80_000), accuracy, journal=journal, trials=4)
    assert wide[0].arch == best
    assert best not in called
    assert len(called) == 3
    (first, *_) = run_search(SPACE, Budget(params=cost(best).params + 1, macs=80_000), score, journal=journal, trials=2)
    assert cost(first.arch).params <= cost(best).params + 1


@pytest.mark.parametrize("url", ["{folder}/j", "sqlite:///{folder}/j"])
def test_search_reads_its_evaluations_again(tmp_path, url):
    storage, feasible = url.format(folder=tmp_path), Feasible(space=SPACE, budget=Budget())
    evaluations = search(feasible, score, storage=storage, trials=4)
    assert search(feasible, lambda arch: pytest.fail("evaluated"), storage=storage, trials=4) == evaluations


def test_search_reads_a_journal_without_checksums(tmp_path):
    journal = tmp_path / "j"
    before = run_search(SPACE, Budget(), score, journal=journal, trials=3)
    journal.write_text(re.sub(r',"crc32":\d+', "", journal.read_text()))
    assert run_search(SPACE, Budget(), score, journal=journal, trials=5)[:3] == before


@pytest.mark.parametrize("url", ["{folder}/j", "sqlite:///{folder}/j"])
def test_search_tries_a_network_that_raises_three_times(tmp_path, url):
    storage, feasible = url.format(folder=tmp_path), Feasible(space=SPACE, budget=Budget())
    attempts = Counter()
    notes = []

    def evaluate(arch):
        attempts[arch] += 1
        if len(attempts) == 4:
            raise MemoryError("out of memory\nwith a second line")
        if len(attempts) == 6 and attempts[arch] < 3:
            raise ValueError("twice")
        return score(arch)

    outcome = search(feasible, evaluate, storage=storage, trials=8, note=notes.append)
    assert len(outcome.evaluations) == 8
    (failure,) = outcome.failures.values()
    assert (failure.reason, failure.attempts) == ("MemoryError: out of memory", 3)
    assert sorted(attempts.values()) == [1] * 7 + [3, 3]
    assert len(notes) == 5
    assert notes[2] == ("trial 5 failed, attempt 3 at its network: MemoryError: out of memory; it is not tried again")
    again = search(feasible, lambda arch: pytest.fail("evaluated"), storage=storage, trials=8)
    assert again == outcome


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "0.5"])
def test_search_does_not_try_again_what_has_no_finite_accuracy(tmp_path, value):
    calls = []

    def evaluate(arch):
        calls.append(arch)
        return value if len(calls) == 3 else score(arch)

    outcome = search(Feasible(space=SPACE, budget=Budget()), evaluate, storage=str(tmp_path / "j"), trials=30)
    assert len(outcome.evaluations) == 30
    assert len(calls) == len(set(calls)) == 31
    assert list(outcome.failures) == [calls[2]]
    assert f"the accuracy is {value!r}" in outcome.failures[calls[2]].reason


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_search_ends_if_nothing_can_be_evaluated(tmp_path, sampler):
    calls = []

    def evaluate(arch):
        calls.append(arch)
        return float("nan")

    with pytest.raises(EvaluationError, match=r"the last 3 networks could not be evaluated, .* accuracy is nan"):
        run_search(SPACE, Budget(), evaluate, journal=tmp_path / "j", trials=20, sampler=sampler)
    assert len(calls) == 3


def test_search_ends_if_every_evaluation_raises(tmp_path):
    calls = []

    def evaluate(arch):
        calls.append(arch)
        raise ValueError("no such thing")

    with pytest.raises(EvaluationError, match="ValueError: no such thing") as error:
        run_search(SPACE, Budget(), evaluate, journal=tmp_path / "j", trials=20)
    assert isinstance(error.value.__cause__, ValueError)
    assert "\n" not in str(error.value)
    assert len(calls) == 7, "two networks three times, and a third"
    assert len(run_search(SPACE, Budget(), score, journal=tmp_path / "j", trials=5)) == 5


def test_search_ends_at_once_if_a_function_returns_no_number_and_is_continued_when_it_does(tmp_path):
    calls = []

    def evaluate(arch):
        calls.append(arch)
        raise NoNumberError("it returned text")

    with pytest.raises(NoNumberError, match=r"^it returned text$"):
        run_search(SPACE, Budget(), evaluate, journal=tmp_path / "j", trials=20)
    assert len(calls) == 1
    continued = run_search(SPACE, Budget(), score, journal=tmp_path / "j", trials=5)
    assert calls[0] in [evaluation.arch for evaluation in continued]


def test_search_reports_each_evaluation_once(tmp_path):
    reported = []

    def after_trial(new, dropped, rejected):
        reported.extend(new)

    first = run_search(SPACE, Budget(), score, journal=tmp_path / "j", trials=5, after_trial=after_trial)
    assert reported == first
    reported.clear()
    assert run_search(SPACE, Budget(), score, journal=tmp_path / "j", trials=9, after_trial=after_trial) == reported
    assert reported[:5] == first


def test_search_by_a_broken_worker_leaves_networks_to_others(tmp_path):
    """One thread fails at everything and stops; the other evaluates all, but for what the first had to itself."""
    storage, feasible = str(tmp_path / "j"), Feasible(space=SPACE, budget=Budget())
    begun = threading.Event()

    def fail(arch):
        begun.wait(30)
        raise ValueError("no GPU")

    def evaluate(arch):
        begun.set()
        time.sleep(0.05)
        return score(arch)

    with ThreadPoolExecutor(2) as pool:
        broken = pool.submit(search, feasible, fail, storage=storage, trials=30)
        sound = pool.submit(search, feasible, evaluate, storage=storage, trials=30)
        with pytest.raises(EvaluationError, match=r"last 3 networks .* ValueError: no GPU"):
            broken.result()
        outcome = sound.result()
    assert len(outcome.evaluations) == 30
    assert len(outcome.failures) <= 2, "with three attempts at each, the broken one ends with the third network"


def test_new_network_makes_way_for_one_that_a_dead_worker_left(tmp_path, monkeypatch):
    """While a network for one of the last two places is begun, others evaluate one, and the worker of another dies."""
    storage, feasible = str(tmp_path / "j"), Feasible(space=SPACE, budget=Budget())
    index_begin = TrialIndex.begin
    others = []

    def begin(index, arch, feasible, worker):
        if index.num_done == 10 and not others:
            others.extend(feasible.sample(generator(0, "others", number)) for number in range(2))
            assert len({arch, *others, *index.known}) == len(index.known) + 3
            index._study.fail(index_begin(index, others[0], feasible, worker).trial_id, failed_because("died"))
            index._study.finish(index_begin(index, others[1], feasible, worker).trial_id, [score(others[1])])
        return index_begin(index, arch, feasible, worker)

    monkeypatch.setattr(TrialIndex, "begin", begin)
    outcome = search(feasible, score, storage=storage, trials=12)
    archs = [evaluation.arch for evaluation in outcome.evaluations]
    assert len(archs) == 12
    assert archs[-2:] == [others[1], others[0]]


def race_against_best(calls):
    """A race on `score` that drops whatever is a tenth below the best so far; calls are kept."""

    def race(arch, evaluations):
        calls.append(arch)
        best = max((e.accuracy for e in evaluations), default=0.0)
        if score(arch) < 0.9 * best:
            raise CannotWinError(score(arch) - 1)
        return score(arch)

    return race


def raced_search(path, race, *, trials=30, macs=60_000, **settings):
    feasible = Feasible(space=SPACE, budget=Budget(macs=macs))

    def evaluate_or_drop(arch, attempt):
        return race(arch, attempt.evaluations)

    return search(feasible, score, evaluate_or_drop=evaluate_or_drop, storage=str(path), trials=trials, **settings)


def test_search_counts_dropped_networks_and_has_no_accuracy_of_them(tmp_path):
    calls, counts, shown = [], [], []

    def after_trial(new, dropped, rejected):
        shown.extend(new)
        counts.append(dropped)

    outcome = raced_search(tmp_path / "j", race_against_best(calls), after_trial=after_trial)
    assert len(calls) == len(set(calls)) == 30
    assert len(outcome.evaluations) + outcome.num_dropped == 30
    assert 0 < outcome.num_dropped < 30
    assert (counts[-1], shown) == (outcome.num_dropped, outcome.evaluations)
    assert all(e.accuracy == score(e.arch) for e in outcome.evaluations)
    assert not outcome.failures
    states = Counter(trial.state.name for trial in trials_in(tmp_path / "j"))
    assert states == {"COMPLETE": len(outcome.evaluations), "PRUNED": outcome.num_dropped}


def trials_in(path):
    storage = open_storage(str(path))
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage).trials


@pytest.mark.parametrize("objectives", [(), ("macs",), ("flash", "macs")])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_raced_search_resumes_as_if_it_had_not_been_interrupted(tmp_path, sampler, objectives):
    calls, resumed = [], []
    settings = {"sampler": sampler, "objectives": objectives, "trials": 40}
    whole = raced_search(tmp_path / "whole", race_against_best(calls), **settings)

    def interrupted(arch, evaluations):
        if len(resumed) == 31:
            raise KeyboardInterrupt
        return race_against_best(resumed)(arch, evaluations)

    with pytest.raises(KeyboardInterrupt):
        raced_search(tmp_path / "cut", interrupted, **settings)
    assert raced_search(tmp_path / "cut", race_against_best(resumed), **settings) == whole
    assert resumed == calls
    without_race = search(
        Feasible(space=SPACE, budget=Budget(macs=60_000)), score, storage=str(tmp_path / "cut"), **settings
    )
    assert without_race == whole, "dropped networks stay dropped"


def test_search_that_only_drops_does_not_end_as_if_it_failed(tmp_path):
    def race(arch, evaluations):
        if evaluations:
            raise CannotWinError(1.0)
        return 50.0

    outcome = raced_search(tmp_path / "j", race, trials=12)
    assert (len(outcome.evaluations), outcome.num_dropped) == (1, 11)


def test_samplers_learn_from_dropped_networks(tmp_path):
    """With the same figures, the next proposals are the same: a search that drops, and one that does not."""
    calls, proposed = [], []

    def drop_all_but_first(arch, evaluations):
        calls.append(arch)
        if evaluations:
            raise CannotWinError(score(arch))
        return score(arch)

    raced_search(tmp_path / "raced", drop_all_but_first)
    raced_search(tmp_path / "plain", lambda arch, evaluations: proposed.append(arch) or score(arch))
    assert calls == proposed


def test_study_with_other_limits_races_dropped_networks_again(tmp_path):
    calls = []
    for macs in (60_000, 50_000):
        raced_search(tmp_path / "j", race_against_best(calls), macs=macs, trials=20)
    assert SPACE.min() in calls
    repeated = [arch for arch, count in Counter(calls).items() if count > 1]
    assert repeated
    assert all(score(arch) < 0.9 * max(map(score, calls)) for arch in repeated)


def test_workers_race_together(tmp_path):
    calls = []
    with ThreadPoolExecutor(3) as pool:
        workers = [pool.submit(raced_search, tmp_path / "j", race_against_best(calls), trials=40) for _ in range(3)]
        outcomes = [worker.result() for worker in workers]
    for outcome in outcomes:
        assert len(outcome.evaluations) + outcome.num_dropped == 40
        assert outcome.num_dropped == outcomes[0].num_dropped > 0
        assert {e.arch for e in outcome.evaluations} == {e.arch for e in outcomes[0].evaluations}
    assert len(calls) == len(set(calls))
