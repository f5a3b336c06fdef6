import pytest

from helpers import SPACE
from tinynas import cost
from tinynas.study.index import COST, ESTIMATE, FAILURE, FINAL, HEARTBEAT, SURPLUS, TrialIndex
from tinynas.study.shared_study import Retries, SharedStudy
from tinynas.utils.rng import generator

ARCHS = [SPACE.sample(generator(0, "index", number)) for number in range(4)]


@pytest.fixture
def study(tmp_path):
    url = str(tmp_path / "j")
    retries = Retries(url=url, timeout=10, note=print)
    return SharedStudy(url, "s", num_options=SPACE.genes(), retries=retries)


@pytest.fixture
def index(study):
    return TrialIndex(study, SPACE)


def begin(study, arch):
    return study.begin(SPACE.encode(arch), {COST: cost(arch).to_dict()}, constraints={})


def test_index_decodes_each_trial_once(study, index, monkeypatch):
    decoded = []
    decode = type(SPACE).decode
    monkeypatch.setattr(type(SPACE), "decode", lambda space, genes: decoded.append(genes) or decode(space, genes))
    for number, arch in enumerate(ARCHS):
        trial_id = begin(study, arch)
        index.refresh()
        study.set_attribute(trial_id, HEARTBEAT, 3)
        index.refresh()
        assert index.running[number].heartbeat == 3
        study.finish(trial_id, [float(number)])
        index.refresh()
    assert len(decoded) == len(ARCHS)
    assert [evaluation.arch for evaluation in index.evaluations] == ARCHS
    assert [evaluation.accuracy for evaluation in index.evaluations] == [0.0, 1.0, 2.0, 3.0]
    assert index.evaluations[1].cost == cost(ARCHS[1])
    assert index.history().taken == set(ARCHS)
    assert not index.running


def test_index_lets_the_first_trial_of_a_network_evaluate_it(study, index):
    first, second = begin(study, ARCHS[0]), begin(study, ARCHS[0])
    index.refresh()
    assert (index.is_needed(0), index.is_needed(1)) == (True, False)
    study.fail(second, {})
    index.refresh()
    assert not index.waiting, "the first one goes on"
    assert index.history().pending == [ARCHS[0]]
    study.finish(first, [1.0])
    third = begin(study, ARCHS[0])
    index.refresh()
    assert not index.is_needed(2)
    study.finish(third, [2.0])
    index.refresh()
    assert [evaluation.accuracy for evaluation in index.evaluations] == [1.0]


def test_index_forgets_a_network_that_nobody_began_to_evaluate(study, index):
    study.fail(begin(study, ARCHS[0]), {SURPLUS: True})
    study.fail(begin(study, ARCHS[1]), {FAILURE: "out of memory"})
    study.fail(begin(study, ARCHS[1]), {SURPLUS: True})
    begin(study, ARCHS[2])
    study.fail(begin(study, ARCHS[2]), {SURPLUS: True})
    index.refresh()
    assert list(index.waiting) == [ARCHS[1]]
    assert index.known == {ARCHS[1], ARCHS[2]}


def test_index_lets_networks_wait_for_three_attempts(study, index):
    for attempt in range(3):
        study.fail(begin(study, ARCHS[0]), {FAILURE: f"reason {attempt}"})
        index.refresh()
        assert list(index.waiting) == ([ARCHS[0]] if attempt < 2 else [])
    assert index.failed_for_good()[ARCHS[0]].reason == "reason 2"
    study.fail(begin(study, ARCHS[1]), {FINAL: True, FAILURE: "nan"})
    study.release(begin(study, ARCHS[2]))
    index.refresh()
    assert list(index.waiting) == [ARCHS[2]], "released, which is no attempt"
    assert set(index.failed_for_good()) == set(ARCHS[:2])
    again = begin(study, ARCHS[2])
    index.refresh()
    assert not index.waiting
    study.finish(again, [1.0])
    index.refresh()
    assert not index.waiting


def test_index_ignores_trials_of_other_programs(study, index):
    study.begin(SPACE.encode(ARCHS[0]), {}, constraints={})
    index.refresh()
    assert (index.running, index.known) == ({}, set())


def test_index_keeps_dropped_networks_apart(study, index):
    """Known to samplers with their estimates, and no evaluations; the first of a network's trials counts."""
    study.finish(begin(study, ARCHS[0]), [80.0])
    study.fail(begin(study, ARCHS[1]), {FAILURE: "out of memory"})
    study.prune(begin(study, ARCHS[1]), {ESTIMATE: 60.5})
    study.prune(begin(study, ARCHS[0]), {ESTIMATE: 70.0})
    study.finish(begin(study, ARCHS[1]), [60.0])
    index.refresh()
    assert [(e.arch, e.accuracy) for e in index.evaluations] == [(ARCHS[0], 80.0)]
    assert [(e.arch, e.accuracy) for e in index.history().evaluations] == [(ARCHS[0], 80.0), (ARCHS[1], 60.5)]
    assert (index.num_dropped, index.num_done) == (1, 2)
    assert not index.waiting
    assert index.known == set(ARCHS[:2])
    again = begin(study, ARCHS[1])
    index.refresh()
    assert not index.is_needed(5)
    assert study.prune(again, {ESTIMATE: 1.0})
    assert not study.prune(again, {ESTIMATE: 2.0}), "it is finished"
    assert index.outcome().num_dropped == 1
