import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from helpers import SMALL
from tinynas import Budget, SearchSpace
from tinynas.study import storage as study
from tinynas.study.feasible import Feasible
from tinynas.study.loop import search
from tinynas.study.storage import open_storage, redact_password, requeue_stale_trials
from tinynas.utils.errors import FileError, InputError

FEASIBLE = Feasible(space=SearchSpace.from_dict(SMALL), budget=Budget(macs=60_000))

WORKER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from study.test_storage import FEASIBLE, search, score
def evaluate(arch):
    with open(sys.argv[3], "a") as file:
        file.write(repr(arch) + "\\n")
    time.sleep(float(sys.argv[4]))
    return score(arch)
print(len(search(FEASIBLE, evaluate, storage=sys.argv[2], trials=24)))
"""


def score(arch):
    return float(sum(block.out for stage in arch.stages for block in stage))


def worker(storage, log, seconds=0.05):
    command = [sys.executable, "-c", WORKER, str(Path(__file__).parent.parent), str(storage), str(log), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def trials_of(storage):
    opened = open_storage(storage)
    (name,) = optuna.get_all_study_names(opened)
    return optuna.load_study(study_name=name, storage=opened).trials


def states(storage):
    return [trial.state.name for trial in trials_of(storage)]


@pytest.fixture(params=["journal", "sqlite"])
def storage(request, tmp_path):
    path = tmp_path / "study"
    return str(path) if request.param == "journal" else f"sqlite:///{path}"


def test_storage_shared_by_processes_evaluates_nothing_twice(storage, tmp_path):
    workers = [worker(storage, tmp_path / f"log{i}") for i in range(3)]
    for one in workers:
        out, err = one.communicate(timeout=120)
        assert (out.strip(), err) == ("24", "")
    logs = [(tmp_path / f"log{i}").read_text().splitlines() for i in range(3)]
    assert sum(bool(log) for log in logs) >= 2, "one process did all the work"
    everything = [line for log in logs for line in log]
    assert len(everything) == len(set(everything)) == 24
    assert states(storage).count("COMPLETE") == 24
    assert "RUNNING" not in states(storage)


def test_storage_loses_only_the_evaluation_of_a_killed_worker(storage, tmp_path):
    victim = worker(storage, tmp_path / "victim", seconds=60)
    while not (tmp_path / "victim").exists():
        time.sleep(0.1)
        assert victim.poll() is None, victim.communicate()
    other = worker(storage, tmp_path / "other")
    time.sleep(1)
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    out, err = other.communicate(timeout=120)
    assert (out.strip(), err) == ("24", "")
    assert (tmp_path / "victim").read_text().strip() in (tmp_path / "other").read_text().splitlines()
    assert states(storage).count("COMPLETE") == 24
    assert states(storage).count("FAIL") == 1
    assert "RUNNING" not in states(storage)


def test_storage_requeues_the_trial_of_a_machine_that_went_silent(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "_HEARTBEAT", 1)
    monkeypatch.setattr(study, "_GRACE", 2)
    url = f"sqlite:///{tmp_path / 'study'}"
    search(FEASIBLE, score, storage=url, trials=5)
    storage = open_storage(url)
    (name,) = optuna.get_all_study_names(storage)
    shared = optuna.load_study(study_name=name, storage=storage)
    with pytest.warns(UserWarning, match="Heartbeat"):
        trial = shared.ask({"resolution": optuna.distributions.IntDistribution(0, 1)})
    with monkeypatch.context() as patch:
        patch.setattr("socket.gethostname", lambda: "another-machine")
        study.record_worker(shared, trial)
    storage.record_heartbeat(trial._trial_id)
    requeue_stale_trials(shared)
    assert shared.trials[trial.number].state.name == "RUNNING", "it may be alive"
    time.sleep(3)
    assert len(search(FEASIBLE, score, storage=url, trials=8)) == 8
    assert shared.trials[trial.number].state.name == "FAIL"


def test_storage_that_goes_away_is_reported_in_one_line(tmp_path):
    journal = tmp_path / "deep" / "study"

    def evaluate(arch):
        journal.unlink(missing_ok=True)
        return score(arch)

    with pytest.raises(FileError, match=r"cannot use the study in .*study: .*No such file") as error:
        search(FEASIBLE, evaluate, storage=str(journal), trials=5)
    assert "\n" not in str(error.value)


def test_storage_in_a_database_that_goes_away_is_reported_in_one_line(tmp_path):
    def evaluate(arch):
        database.unlink(missing_ok=True)
        database.mkdir(exist_ok=True)
        return score(arch)

    database = tmp_path / "study"
    with pytest.raises(FileError, match=r"cannot use the study in sqlite:.*unable to open|readonly") as error:
        search(FEASIBLE, evaluate, storage=f"sqlite:///{database}", trials=5)
    assert "\n" not in str(error.value)


def test_storage_is_not_blamed_for_an_error_of_the_evaluation(tmp_path, storage):
    def evaluate(arch):
        raise ValueError("cannot evaluate")

    with pytest.raises(ValueError, match="cannot evaluate"):
        search(FEASIBLE, evaluate, storage=storage, trials=5)
    assert len(search(FEASIBLE, score, storage=storage, trials=5)) == 5, "the network was not queued again"


@pytest.mark.parametrize(
    ("url", "kind", "message"),
    [
        ("nonsense://host/db", FileError, "Can't load plugin"),
        ("mysql://me:secret@host/db", InputError, "which is not installed"),
        ("sqlite:////nowhere/at/all", FileError, "unable to open database file"),
        ("/proc/nowhere/study", FileError, "cannot use the study in /proc/nowhere/study"),
    ],
)
def test_open_storage_names_what_it_cannot_use(url, kind, message):
    with pytest.raises(kind, match=message) as error:
        open_storage(url)
    assert "secret" not in str(error.value)


def test_redact_password_hides_the_password():
    assert redact_password("postgresql://me:secret@host:5432/nas") == "postgresql://me@host:5432/nas"
    assert redact_password("runs/study.journal") == "runs/study.journal"


def test_search_restores_optunas_verbosity(tmp_path):
    before = optuna.logging.get_verbosity()
    inside = []

    def evaluate(arch):
        inside.append(optuna.logging.get_verbosity())
        return score(arch)

    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    try:
        search(FEASIBLE, evaluate, storage=str(tmp_path / "study"), trials=2)
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    finally:
        optuna.logging.set_verbosity(before)
    assert set(inside) == {optuna.logging.ERROR}


def test_search_fails_trials_that_are_not_needed_without_values(tmp_path):
    """A queued trial of a network that the study already has is recorded as failed."""
    storage = str(tmp_path / "study")
    search(FEASIBLE, score, storage=storage, trials=3)
    opened = open_storage(storage)
    (name,) = optuna.get_all_study_names(opened)
    shared = optuna.load_study(study_name=name, storage=opened)
    shared.enqueue_trial(shared.trials[0].params)
    assert len(search(FEASIBLE, score, storage=storage, trials=5)) == 5
    (failed,) = [trial for trial in trials_of(storage) if trial.state.name == "FAIL"]
    assert failed.params == shared.trials[0].params
    assert failed.values is None
