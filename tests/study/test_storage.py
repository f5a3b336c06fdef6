import json
import os
import signal
import subprocess
import sys
import time

import optuna
import pytest

from helpers import SMALL
from tinynas import Budget, SearchSpace
from tinynas.study.feasible import Feasible
from tinynas.study.loop import search
from tinynas.study.storage import open_storage, redact_password
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
print(len(search(feasible, evaluate, storage=storage, trials=16, grace=3).evaluations))
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


@pytest.mark.parametrize(
    ("url", "kind", "message"),
    [
        ("nonsense://host/db", FileError, "Can't load plugin"),
        ("mysql://me:secret@host/db", InputError, "which is not installed"),
        ("sqlite:////nowhere/at/all", FileError, "unable to open database file"),
        ("/proc/nowhere/study", FileError, "cannot use the study in /proc/nowhere/study"),
        ("postgresql:/me:secret@host/db", InputError, "write SCHEME://"),
        ("postgresql://me:secret@host:port/db", InputError, "cannot read the storage postgresql://..."),
        ("postgresql://me:secret@word@host/db", InputError, "more than one @"),
    ],
)
def test_open_storage_names_what_it_cannot_use(url, kind, message):
    with pytest.raises(kind, match=message) as error:
        open_storage(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("postgresql://me:secret@host:5432/nas", "postgresql://me@host:5432/nas"),
        ("postgresql://host/nas?user=me&password=secret", "postgresql://host/nas?user=me"),
        (
            "postgresql+psycopg://host/nas?sslpassword=secret&sslmode=require",
            "postgresql+psycopg://host/nas?sslmode=require",
        ),
        ("mysql://me:se%2Fcret@host/nas?passwd=secret", "mysql://me@host/nas"),
        ("grpc://host:13000", "grpc://host:13000"),
        ("runs/study.journal", "runs/study.journal"),
        ("not a url://secret", "not a url://..."),
        ("postgresql:/me:secret@host/nas", "postgresql:..."),
        ("postgresql://me:secret@host:port/nas", "postgresql://..."),
        ("postgresql://me:se@cr/et@host/nas", "postgresql://..."),
        ("grpc://me:secret@host:port", "grpc://..."),
    ],
)
def test_redact_password_hides_every_form_of_password(url, public):
    assert redact_password(url) == public


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
