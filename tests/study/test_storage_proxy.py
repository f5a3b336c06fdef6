"""The server between many workers and a database, as a process of its own."""

import signal
import socket
import subprocess
import sys
import warnings

import optuna
import pytest
from common.postgres import PostgresServer, missing_postgres

from helpers import SPACE, score
from tinynas import Budget
from tinynas.study.feasible import Feasible
from tinynas.study.loop import search
from tinynas.study.storage import is_transient, open_storage
from tinynas.study.storage_proxy import run_storage_proxy
from tinynas.utils.errors import InputError

pytest.importorskip("grpc", reason="the extra distributed is not installed")


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """URL of a database in PostgreSQL where it is installed, otherwise in SQLite."""
    if missing_postgres():
        yield f"sqlite:///{tmp_path_factory.mktemp('proxy')}/studies.db"
        return
    with PostgresServer() as server:
        yield server.url


@pytest.fixture
def port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


@pytest.fixture
def proxy(database, port):
    """A storage proxy, and the line that it prints."""
    command = [sys.executable, "-m", "tinynas.cli", "storage-proxy", "--storage", database, "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield process, process.stdout.readline()
    process.kill()
    process.communicate()


def connect(port):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = optuna.storages.GrpcStorageProxy(host="localhost", port=port)
    storage.wait_server_ready(timeout=60)
    return storage


def test_proxy_serves_the_database(proxy, database, port):
    study = optuna.create_study(study_name="served", storage=connect(port))
    study.enqueue_trial({"x": 2})
    storage = open_storage(database)
    (trial,) = storage.get_all_trials(storage.get_study_id_from_name("served"))
    storage.engine.dispose()
    assert trial.system_attrs == {"fixed_params": {"x": 2}}


def test_proxy_shows_no_password(proxy):
    _, line = proxy
    assert line.startswith("serving ")
    assert "pass-word" not in line


def test_ctrl_c_ends_a_proxy_quietly(proxy, port):
    process, _ = proxy
    connect(port)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 0


def test_second_proxy_on_a_port_is_refused(proxy, database, port):
    connect(port)
    with pytest.raises(InputError, match=f"cannot listen on localhost:{port}: .*; choose another --host or --port"):
        run_storage_proxy(database, host="localhost", port=port, note=print)


@pytest.mark.parametrize("storage", ["study.journal", "grpc://localhost:13000"])
def test_proxy_serves_databases_only(fails, storage):
    assert f"the storage {storage} is no database" in fails("storage-proxy", "--storage", storage)


def test_proxy_without_grpc_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(InputError, match=r"needs grpc, which is not installed; pip install 'tinynas\[distributed\]'"):
        run_storage_proxy("sqlite:///studies.db", host="localhost", port=13000, note=print)


def test_search_through_a_proxy(proxy, port):
    feasible = Feasible(space=SPACE, budget=Budget())
    url = f"grpc://localhost:{port}"
    evaluations = search(feasible, score, storage=url, trials=12).evaluations
    assert len(evaluations) == 12
    assert search(feasible, pytest.fail, storage=url, trials=12).evaluations == evaluations


def test_worker_does_not_wait_for_ever_for_a_proxy_that_stands_still(proxy, port, monkeypatch):
    process, _ = proxy
    monkeypatch.setattr("tinynas.study.grpc_client._DEADLINE", 1.0)
    connect(port)
    storage = open_storage(f"grpc://localhost:{port}")
    storage.get_all_studies()
    process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(Exception, match="Deadline") as error:
            storage.get_all_studies()
    finally:
        process.send_signal(signal.SIGCONT)
    assert is_transient(error.value)
    storage.get_all_studies()
