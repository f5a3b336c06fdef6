"""What a search by many workers must have kept, checked from the study and the log of its evaluations."""

from collections import Counter, defaultdict
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tinynas import load_space
from tinynas.arch.arch import Arch
from tinynas.arch.cost import cost
from tinynas.study.history import Evaluation
from tinynas.study.storage import open_storage

from .load_search import EventLog, front_digest, network_digest, stub_score
from .load_workers import Workers

_ATTEMPTS = 3  # after which a network may be given up


def check_search(workers: Workers) -> dict[str, Any]:
    """Return what has become of the networks of a finished search.

    Returns:
        trials: Completed trials.
        lost: Networks whose evaluation began, and which were neither completed nor failed three times.
        recorded_twice: Networks with more than one completed trial.
        evaluated_twice: Networks whose evaluation ended more than once, although the first worker was neither killed
            before it recorded the result, nor paused.
        repeated: Networks whose evaluation ended more than once for one of these two reasons.
        running: Trials left running.
        wrong_scores: Completed trials whose accuracy is not that of the network.
        fronts: Different Pareto fronts that the workers returned.
        same_front: Whether they are that of a single process over the same networks.
        errors: Workers that ended with an error or wrote to stderr.
        notes: Lines that the workers showed, by their first words.
    """
    events = EventLog(workers.search.log).read()
    trials = _read_trials(workers.search.storage)
    completed = _completed_archs(trials)
    digests = Counter([network_digest(arch) for arch in completed])
    begun = {event["what"] for event in events if event["event"] == "begin"}
    given_up = _given_up(trials)
    wrong, evaluations = 0, []
    for arch, trial in zip(completed, _in_state(trials, TrialState.COMPLETE), strict=True):
        wrong += trial.values[0] != stub_score(arch)
        evaluations.append(Evaluation(arch=arch, accuracy=stub_score(arch), cost=cost(arch)))
    fronts = {event["what"] for event in events if event["event"] == "front"}
    excused, unexcused = _repeated_evaluations(events, workers.killed)
    if workers.pauses:  # a worker that was paused ends its evaluation although another has taken it over
        excused, unexcused = excused + unexcused, max(0, unexcused - workers.pauses)
    failed_exits = [code for code in workers.exit_codes.values() if code != 0]
    return {
        "trials": len(completed),
        "begun": len(begun),
        "lost": len(begun - set(digests) - given_up),
        "recorded_twice": sum(count > 1 for count in digests.values()),
        "evaluated_twice": unexcused,
        "repeated": excused,
        "running": len(_in_state(trials, TrialState.RUNNING)),
        "failed": len(_in_state(trials, TrialState.FAIL)),
        "wrong_scores": wrong,
        "fronts": len(fronts),
        "same_front": fronts == {front_digest(evaluations)},
        "errors": len(failed_exits) + len(workers.errors()),
        "notes": _notes(events),
    }


def _read_trials(storage: str) -> list[FrozenTrial]:
    """Return the trials of the only study in a storage."""
    opened = open_storage(storage)
    (study,) = opened.get_all_studies()
    return opened.get_all_trials(study._study_id, deepcopy=False)


def _in_state(trials: list[FrozenTrial], state: TrialState) -> list[FrozenTrial]:
    return [trial for trial in trials if trial.state == state]


def _completed_archs(trials: list[FrozenTrial]) -> list[Arch]:
    """Return the network of every completed trial."""
    space = load_space("micro-v1")
    archs = []
    for trial in _in_state(trials, TrialState.COMPLETE):
        archs.append(space.decode(trial.params))
    return archs


def _given_up(trials: list[FrozenTrial]) -> set[str]:
    """Return the networks that three trials failed to evaluate."""
    space = load_space("micro-v1")
    attempts: Counter[str] = Counter()
    for trial in _in_state(trials, TrialState.FAIL):
        attempts[network_digest(space.decode(trial.params))] += 1
    return {name for name, count in attempts.items() if count >= _ATTEMPTS}


def _repeated_evaluations(events: list[dict], killed: list[int]) -> tuple[int, int]:
    """Return how many networks were evaluated to the end more than once: with and without an excuse.

    The excuse is that all workers but the last were killed after the evaluation, or ended with an error, before they
    had recorded the result: the end of the evaluation is then the last event of the worker, but for notes.
    """
    ends = defaultdict(list)
    last_event = {}
    stopped = set(killed)
    for event in events:
        if event["event"] == "error":
            stopped.add(event["worker"])
            continue
        if event["event"] != "note":  # a worker that waits for its database, to record the result, shows notes
            last_event[event["worker"]] = event
        if event["event"] == "end":
            ends[event["what"]].append(event)
    excused, unexcused = 0, 0
    for repeated in ends.values():
        if len(repeated) < 2:
            continue
        unrecorded = 0
        for event in repeated:
            unrecorded += event["worker"] in stopped and last_event[event["worker"]] is event
        if len(repeated) - unrecorded <= 1:
            excused += 1
        else:
            unexcused += 1
    return excused, unexcused


def _notes(events: list[dict]) -> dict[str, int]:
    """Return how often lines were shown, without what varies in them: digits, and names of workers."""
    counts: Counter[str] = Counter()
    for event in events:
        if event["event"] == "note":
            words = []
            for word in event["what"].split():
                words.append("N" if any(character.isdigit() for character in word) else word)
            counts[" ".join(words)] += 1
    return dict(counts.most_common(12))
