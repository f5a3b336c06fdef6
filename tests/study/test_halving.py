from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from statistics import fmean
from threading import Barrier

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from helpers import SPACE, score
from tinynas import Budget
from tinynas.study.feasible import Feasible
from tinynas.study.halving import Halving, estimated_accuracy
from tinynas.study.loop import search
from tinynas.study.samplers import SAMPLERS
from tinynas.study.storage import open_storage, quiet_optuna
from tinynas.utils.errors import EvaluationError, TrainingError

EPOCHS = 20


@pytest.mark.parametrize("epochs", range(1, 50))
def test_rungs_are_a_ninth_and_a_third_of_the_epochs_and_before_their_end(epochs):
    rungs = Halving(epochs).rungs
    assert len(rungs) == (0 if epochs == 1 else 1 if epochs <= 3 else 2)
    assert all(0 < rung < epochs for rung in rungs)
    if epochs >= 9:
        assert [rung * 9 // epochs for rung in rungs] in ([0, 1], [0, 2], [1, 3])
        assert rungs[1] == 3 * rungs[0]


@pytest.mark.parametrize("seed", range(4))
def test_trainings_go_on_if_they_are_in_the_best_third(seed):
    """Against a rule of our own: failed trials do not count, and less than three compare with the best."""
    study, halving = optuna.create_study(direction="maximize"), Halving(EPOCHS)
    rng = np.random.default_rng(seed)
    came = {rung: [] for rung in halving.rungs}
    for number in range(60):
        trial = study.ask()
        fails, expected, stopped = number % 5 == 3, False, False
        values = {rung: [*others] for rung, others in came.items()}
        for epoch in range(1, EPOCHS + 1):
            accuracy = float(rng.integers(0, 40)) + epoch
            trial.report(accuracy, epoch)
            if epoch in halving.rungs:
                values[epoch].append(accuracy)
                better = sorted(values[epoch], reverse=True)
                expected = accuracy < better[max(1, len(better) // 3) - 1]
            reported = study._storage.get_trial(trial._trial_id)
            stopped = halving.stops(study, reported)
            assert stopped == expected
            assert halving.stops(study, reported) == expected, "asked again, as when the storage was away"
            if stopped:
                break
        if fails:
            study.tell(trial, state=TrialState.FAIL)
        else:
            came = values
            study.tell(
                trial, state=TrialState.PRUNED if stopped else TrialState.COMPLETE, values=None if stopped else 1
            )
    assert len(came[2]) > len(came[6]) > 1


def finished(curve, state=TrialState.COMPLETE):
    """A trial with accuracies after 1, 2, ... epochs."""
    value = curve[-1] if state == TrialState.COMPLETE else None
    return create_trial(state=state, value=value, intermediate_values=dict(enumerate(curve, 1)))


def test_estimate_adds_what_others_gained_and_is_no_higher_than_the_best():
    assert estimated_accuracy([], 2, 50.0) == 50.0
    trials = [finished([30, 40, 60]), finished([30, 50, 80]), finished([10, 90], TrialState.PRUNED)]
    assert estimated_accuracy(trials, 2, 35.0) == 35 + (20 + 30) / 2
    assert estimated_accuracy(trials, 2, 70.0) == 80.0
    repeated = create_trial(state=TrialState.COMPLETE, value=99.0)  # of an accuracy that was known
    assert estimated_accuracy([*trials, repeated], 2, 35.0) == 60.0


class Trainings:
    """Trainings whose curves cross; counts the epochs of every network."""

    def __init__(self, interrupt_after=None):
        self.epochs = Counter()
        self.halving = Halving(EPOCHS)
        self.interrupt_after = interrupt_after

    @staticmethod
    def accuracy(arch, epochs):
        luck = sum(SPACE.encode(arch).values()) % 7 / 7
        return 5 * score(arch) + (epochs / EPOCHS) * luck - 10 / epochs

    def __call__(self, arch, attempt):
        for epoch in range(1, EPOCHS + 1):
            if self.epochs.total() == self.interrupt_after:
                raise KeyboardInterrupt
            self.epochs[arch] += 1
            attempt.report(epoch, self.accuracy(arch, epoch), self.halving)
        return self.accuracy(arch, EPOCHS)

    @property
    def archs(self):
        return list(self.epochs)


def halved_search(path, trainings, *, trials=27, macs=60_000, **settings):
    feasible = Feasible(space=SPACE, budget=Budget(macs=macs))
    return search(feasible, score, evaluate_or_drop=trainings, storage=str(path), trials=trials, **settings)


def trials_of(path, number=0):
    with quiet_optuna():
        storage = open_storage(str(path))
        return optuna.load_study(study_name=optuna.get_all_study_names(storage)[number], storage=storage).trials


def test_search_stops_trainings_that_are_behind(tmp_path):
    trainings = Trainings()
    outcome = halved_search(tmp_path / "j", trainings)
    assert len(outcome.evaluations) + outcome.num_dropped == len(trainings.epochs) == 27
    assert outcome.num_dropped > 9
    assert all(trainings.epochs[e.arch] == EPOCHS for e in outcome.evaluations)
    assert all(e.accuracy == Trainings.accuracy(e.arch, EPOCHS) for e in outcome.evaluations)
    assert set(trainings.epochs.values()) == {*Halving(EPOCHS).rungs, EPOCHS}
    best = max(e.accuracy for e in outcome.evaluations)
    for trial in trials_of(tmp_path / "j"):
        assert len(trial.intermediate_values) == trainings.epochs[SPACE.decode(trial.params)]
        if trial.state == TrialState.PRUNED:
            accuracy = trial.intermediate_values[trial.last_step]
            assert accuracy <= trial.user_attrs["estimated accuracy"] <= max(best, accuracy)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("after", [1, 75, 150])
def test_search_that_is_interrupted_in_a_training_ends_as_if_it_had_not_been(tmp_path, sampler, after):
    trainings, rest = Trainings(), Trainings()
    whole = halved_search(tmp_path / "whole", trainings, sampler=sampler)
    assert trainings.epochs.total() > 150
    with pytest.raises(KeyboardInterrupt):
        halved_search(tmp_path / "cut", Trainings(interrupt_after=after), sampler=sampler)
    assert halved_search(tmp_path / "cut", rest, sampler=sampler) == whole
    assert rest.archs == trainings.archs[-len(rest.archs) :]


def test_samplers_learn_from_trainings_that_were_stopped(tmp_path):
    """The next proposals are those of a search that had evaluated them as high as estimated."""
    trainings, proposed = Trainings(), []
    halved_search(tmp_path / "halved", trainings)
    figures = {}
    for trial in trials_of(tmp_path / "halved"):
        figures[SPACE.decode(trial.params)] = trial.user_attrs.get("estimated accuracy", trial.value)

    def evaluate(arch):
        proposed.append(arch)
        return figures[arch]

    feasible = Feasible(space=SPACE, budget=Budget(macs=60_000))
    search(feasible, evaluate, storage=str(tmp_path / "plain"), trials=27)
    assert proposed == trainings.archs


def test_other_limits_compare_with_trainings_of_before(tmp_path):
    """Networks that both limits allow are trained once, and their accuracies at the rungs are compared with."""
    trainings = Trainings()
    halved_search(tmp_path / "j", trainings, sampler="random")
    complete = {arch for arch, epochs in trainings.epochs.items() if epochs == EPOCHS}
    second = Trainings()
    outcome = halved_search(tmp_path / "j", second, macs=50_000, sampler="random")
    known = complete & {e.arch for e in outcome.evaluations}
    assert known
    assert not known & set(second.epochs)
    first = trials_of(tmp_path / "j", 0)
    reports = {SPACE.decode(trial.params): trial.intermediate_values for trial in first}
    rungs = {SPACE.decode(trial.params): Halving.compared(trial) for trial in first}
    for trial in trials_of(tmp_path / "j", 1):
        arch = SPACE.decode(trial.params)
        if arch in known:
            assert trial.intermediate_values == reports[arch]
            assert Halving.compared(trial) == rungs[arch] != {}


class TrainingsTogether(Trainings):
    """Trainings of a worker, the first of which begins when all workers have begun one."""

    def __init__(self, barrier):
        super().__init__()
        self.barrier = barrier

    def __call__(self, arch, attempt):
        if not self.epochs:
            self.barrier.wait(timeout=60)
        return super().__call__(arch, attempt)


def test_workers_share_the_rungs(tmp_path):
    barrier = Barrier(3)
    trainings = [TrainingsTogether(barrier) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        outcomes = list(
            pool.map(lambda own: halved_search(tmp_path / "j", own, sampler="random", trials=40), trainings)
        )
    assert min(own.epochs.total() for own in trainings) > 0
    for outcome in outcomes:
        assert len(outcome.evaluations) + outcome.num_dropped == 40
        assert outcome.num_dropped == outcomes[0].num_dropped > 0
    first = [trial.intermediate_values[2] for trial in trials_of(tmp_path / "j") if trial.last_step]
    promoted = [trial for trial in trials_of(tmp_path / "j") if trial.last_step and trial.last_step > 2]
    assert len(first) == 40
    assert fmean(trial.intermediate_values[2] for trial in promoted) > fmean(first)


def test_training_that_diverges_is_not_tried_again(tmp_path):
    failed = []

    def evaluate(arch, attempt):
        if len(failed) < 2:
            failed.append(arch)
            raise TrainingError("the training diverged")
        return score(arch)

    outcome = halved_search(tmp_path / "j", evaluate, trials=6)
    assert len(outcome.evaluations) == 6
    assert set(outcome.failures) == set(failed)
    assert {failure.attempts for failure in outcome.failures.values()} == {1}

    def diverge(arch, attempt):
        raise TrainingError("the training diverged")

    with pytest.raises(EvaluationError, match=r"the last 3 networks could not be evaluated.*the training diverged"):
        halved_search(tmp_path / "other", diverge)
