import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from tinynas.utils.errors import FileError
from tinynas.utils.locks import exclusive_lock

HOLDER = """
import sys
from pathlib import Path
from tinynas.utils.locks import exclusive_lock
with exclusive_lock(Path(sys.argv[1]), "tinynas retrain", print):
    print("locked", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process, which holds the lock tmp_path/run/lock."""
    command = [sys.executable, "-c", HOLDER, tmp_path / "run" / "lock"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_lock_tells_who_holds_it_and_waits(tmp_path, holder):
    path, holders = tmp_path / "run" / "lock", []

    def release(text):
        holders.append(text)
        threading.Timer(0.2, holder.stdin.close).start()

    with exclusive_lock(path, "tinynas search", release):
        assert holder.wait(timeout=10) == 0
        (text,) = holders
        assert text.startswith(f"tinynas retrain (process {holder.pid} on {socket.gethostname()}, since 20")
        record = json.loads((tmp_path / "run" / "lock.json").read_text())
        assert (record["command"], record["pid"]) == ("tinynas search", os.getpid())
    assert os.listdir(tmp_path / "run") == []


def test_lock_can_be_refused_in_place_of_waiting(tmp_path, holder):
    def refuse(text):
        raise FileError(f"held by {text}")

    path = tmp_path / "run" / "lock"
    with pytest.raises(FileError, match="held by tinynas retrain"), exclusive_lock(path, "tinynas retrain", refuse):
        pytest.fail("two processes have the lock")
    assert sorted(os.listdir(tmp_path / "run")) == ["lock", "lock.json"]  # the holder's


def test_lock_of_a_killed_process_is_free(tmp_path, holder):
    waited = []

    def kill(text):
        waited.append(text)
        threading.Timer(0.2, holder.kill).start()

    began = time.monotonic()
    with exclusive_lock(tmp_path / "run" / "lock", "tinynas search", kill):
        assert time.monotonic() - began < 5
    assert len(waited) == 1
    with exclusive_lock(tmp_path / "run" / "lock", "tinynas search", lambda text: pytest.fail("nobody has it")):
        pass


@pytest.mark.parametrize("record", [None, "", "[]", '{"pid": 3}'])
def test_lock_whose_holder_is_unknown_is_held_by_another_process(tmp_path, holder, record):
    def refuse(text):
        raise FileError(text)

    path = tmp_path / "run" / "lock.json"
    path.unlink()
    if record is not None:
        path.write_text(record)
    with pytest.raises(FileError, match=r"^another process$"), exclusive_lock(path.with_suffix(""), "search", refuse):
        pytest.fail("two processes have the lock")


def test_lock_lets_only_one_process_in(tmp_path):
    """Processes that add one to a number in a file, each 40 times, lose none while they hold the lock."""
    count = """
import sys
from pathlib import Path
from tinynas.utils.locks import exclusive_lock
folder = Path(sys.argv[1])
for _ in range(40):
    with exclusive_lock(folder / "lock", "counting", len):
        (folder / "count").write_text(str(int((folder / "count").read_text()) + 1))
"""
    (tmp_path / "count").write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", count, tmp_path]) for _ in range(3)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "120"
    assert os.listdir(tmp_path) == ["count"]


def test_lock_of_a_killed_process_is_free_though_its_children_live(tmp_path):
    """Forked processes, such as those that load images, have its open files."""
    fork = """
import os, sys, time
from pathlib import Path
from tinynas.utils.locks import exclusive_lock
with exclusive_lock(Path(sys.argv[1]), "parent", print):
    child = os.fork()
    if child == 0:
        os.close(1)
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", fork, tmp_path / "lock"], stdout=subprocess.PIPE, text=True)
    try:
        assert done.returncode == -9
        with exclusive_lock(tmp_path / "lock", "next", lambda text: pytest.fail(f"held by {text}")):
            pass
    finally:
        os.kill(int(done.stdout), 9)
