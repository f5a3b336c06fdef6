import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import optuna
import pytest
from optuna.storages import RDBStorage

from helpers import SMALL
from tinynas import Budget, SearchSpace
from tinynas.study.feasible import Feasible
from tinynas.study.loop import search
from tinynas.study.storage import open_storage, record_worker, redact_password, requeue_stale_trials
from tinynas.utils.errors import FileError, InputError

FEASIBLE = Feasible(space=SearchSpace.from_dict(SMALL), budget=Budget(macs=60_000))

WORKER = """
import json, sys, time
from tinynas import Budget, SearchSpace
from tinynas.study.feasible import Feasible
from tinynas.study.loop import search
space, storage, log, seconds = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
def evaluate(arch):
    with open(log, "a") as file:
        file.write(repr(arch) + "\\n")
    time.sleep(float(seconds))
    return float(sum(block.out for stage in arch.stages for block in stage))
feasible = Feasible(space=SearchSpace.from_dict(json.loads(space)), budget=Budget(macs=60_000))
print(len(search(feasible, evaluate, storage=storage, trials=16)))
"""


def score(arch):
    return float(sum(block.out for stage in arch.stages for block in stage))


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


@pytest.fixture
def start_workers(storage):
    """Start processes that search the study together, each with a log of its networks and the seconds for one."""
    workers = []

    def start(seconds_by_log):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started = []
        for log, seconds in seconds_by_log.items():
            command = [sys.executable, "-c", WORKER, json.dumps(SMALL), storage, str(log), str(seconds)]
            started.append(subprocess.Popen(command, text=True, **pipes))
        workers.extend(started)
        for worker in started:
            assert worker.stdout.readline() == "ready\n", worker.communicate()
        for worker in started:
            worker.stdin.write("\n")
            worker.stdin.flush()
        return started

    yield start
    for worker in workers:
        worker.kill()
        worker.communicate()


def wait_for(path, worker):
    """Wait until a worker has written its first network."""
    while not path.exists():
        time.sleep(0.05)
        assert worker.poll() is None, worker.communicate()


def test_storage_shared_by_processes_evaluates_nothing_twice(start_workers, storage, tmp_path):
    for worker in start_workers({tmp_path / f"log{i}": 0.2 for i in range(2)}):
        out, err = worker.communicate(timeout=300)
        assert (out.strip(), err) == ("16", "")
    logs = [(tmp_path / f"log{i}").read_text().splitlines() for i in range(2)]
    everything = [line for log in logs for line in log]
    assert len(everything) == len(set(everything)) == 16
    assert states(storage).count("COMPLETE") == 16
    assert "RUNNING" not in states(storage)


def test_storage_loses_only_the_evaluation_of_a_killed_worker(start_workers, storage, tmp_path):
    (victim,) = start_workers({tmp_path / "victim": 3600})
    wait_for(tmp_path / "victim", victim)
    (other,) = start_workers({tmp_path / "other": 0.05})
    wait_for(tmp_path / "other", other)
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    out, err = other.communicate(timeout=300)
    assert (out.strip(), err) == ("16", "")
    assert (tmp_path / "victim").read_text().strip() in (tmp_path / "other").read_text().splitlines()
    assert states(storage).count("COMPLETE") == 16
    assert states(storage).count("FAIL") == 1
    assert "RUNNING" not in states(storage)


def test_storage_starts_a_queued_trial_once(storage, monkeypatch):
    """Two processes that read a queued trial at the same time: one of them starts it."""
    storages = [open_storage(storage) for _ in range(2)]
    shared = optuna.create_study(storage=storages[0])
    shared.enqueue_trial({"x": 1})
    trial_id = shared.trials[0]._trial_id
    barrier, check = threading.Barrier(2), RDBStorage.check_trial_is_updatable

    def check_together(*arguments):
        with contextlib.suppress(threading.BrokenBarrierError):
            barrier.wait(timeout=1)
        check(*arguments)

    monkeypatch.setattr(RDBStorage, "check_trial_is_updatable", check_together)
    started = []

    def start(opened):
        try:
            started.append(opened.set_trial_state_values(trial_id, optuna.trial.TrialState.RUNNING))
        except Exception as error:
            started.append(error)

    threads = [threading.Thread(target=start, args=(opened,)) for opened in storages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(started) == [False, True]


def test_storage_requeues_the_trial_of_a_machine_that_went_silent(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'study'}"
    search(FEASIBLE, score, storage=url, trials=5)
    storage = open_storage(url)
    (name,) = optuna.get_all_study_names(storage)
    shared = optuna.load_study(study_name=name, storage=storage)
    with pytest.warns(UserWarning, match="Heartbeat"):
        trial = shared.ask({"resolution": optuna.distributions.IntDistribution(0, 1)})
    with monkeypatch.context() as patch:
        patch.setattr("socket.gethostname", lambda: "another-machine")
        record_worker(shared, trial)
    storage.record_heartbeat(trial._trial_id)
    requeue_stale_trials(shared)
    assert shared.trials[trial.number].state.name == "RUNNING", "it may be alive"
    with storage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE trial_heartbeats SET heartbeat = datetime(heartbeat, '-2 minutes')")
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


def test_storage_does_not_raise_in_the_thread_of_heartbeats(tmp_path):
    database = tmp_path / "study"
    storage = open_storage(f"sqlite:///{database}")
    storage.engine.dispose()
    database.unlink()
    storage.record_heartbeat(0)


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
