import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from tinynas.study.workers import Heartbeat, Liveness, Worker

PRINT_WORKER = """
import json
from tinynas.study.workers import Worker
with Worker.at_work() as worker:
    print(json.dumps(worker.to_dict()), flush=True)
    input()
"""


def start(*prefix):
    """Start a process that prints who it is and waits; return it and the worker."""
    command = [*prefix, sys.executable, "-c", PRINT_WORKER]
    process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    return process, Worker.from_dict(json.loads(process.stdout.readline()))


@pytest.fixture
def worker():
    """This process."""
    with Worker.at_work() as worker:
        yield worker


def test_worker_that_runs_is_not_known_to_be_dead(worker):
    assert not worker.is_known_dead()
    with Worker.at_work() as other:
        assert worker.id != other.id, "each search has its own"
    assert other.is_known_dead(), "its search has ended, though its process runs"
    assert not worker.is_known_dead()
    assert Worker.from_dict(json.loads(json.dumps(worker.to_dict()))) == worker
    assert str(os.getpid()) in str(worker)


def test_worker_is_known_to_be_dead_when_its_process_is_gone():
    process, worker = start()
    assert worker.pid == process.pid
    assert not worker.is_known_dead()
    process.kill()
    while process.poll() is None and not worker.is_known_dead():
        time.sleep(0.01)
    process.communicate()
    assert worker.is_known_dead()


def test_worker_is_known_to_be_dead_while_its_process_is_a_zombie():
    process, worker = start()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and not reaped
    assert worker.is_known_dead()
    process.communicate()


def test_worker_is_known_to_be_dead_when_another_process_has_its_id(worker):
    """The machine's name and the process id are those of a process that runs: this one."""
    assert dataclasses.replace(worker, started=worker.started - 1).is_known_dead()


@pytest.mark.parametrize("change", [{"boot": "another"}, {"namespace": "pid:[1]"}, {"boot": ""}, {"started": -1}])
def test_worker_that_ran_elsewhere_is_judged_by_its_heartbeat(worker, change):
    """Of a process that is certainly not here: the id is larger than any."""
    elsewhere = dataclasses.replace(worker, pid=2**22 + 1, **change)
    assert not elsewhere.is_known_dead()


@pytest.mark.skipif(not shutil.which("unshare") or os.getuid() != 0, reason="needs unshare and root")
def test_worker_in_another_container_is_judged_by_its_heartbeat(worker):
    """Containers: own process ids, of which one is that of a process here; the same or another host name."""
    process, contained = start("unshare", "--pid", "--fork", "--mount-proc", "--uts")
    assert contained.namespace != worker.namespace
    assert contained.pid == 1, "a process that runs here too"
    process.communicate("\n")
    assert not contained.is_known_dead(), "it cannot be known here"


def test_worker_of_an_earlier_version_is_unknown():
    assert Worker.from_dict("host 123") is None
    assert Worker.from_dict(None) is None


def test_liveness_follows_the_heartbeat(worker):
    now = [0.0]
    liveness = Liveness(grace=60, interval=20, clock=lambda: now[0])
    elsewhere = dataclasses.replace(worker, boot="another machine")

    def is_dead_at(seconds, heartbeat):
        now[0] = seconds
        return liveness.is_dead(7, elsewhere, heartbeat)

    assert not is_dead_at(0, 0)
    for seconds in range(10, 200, 10):
        assert not is_dead_at(seconds, seconds // 20), "it beats every 20 s"
    assert [is_dead_at(seconds, 9) for seconds in (200, 220, 240, 250, 260)] == [False, False, False, True, True]


def test_liveness_gives_everyone_time_after_a_standstill():
    """The whole machine was paused for an hour: nobody could beat."""
    now = [0.0]
    liveness = Liveness(grace=60, interval=20, clock=lambda: now[0])
    assert not liveness.is_dead(0, None, 1)
    now[0] = 3600.0
    assert not liveness.is_dead(0, None, 1)
    now[0] = 3610.0
    assert not liveness.is_dead(0, None, 2)


def test_liveness_keeps_nothing_of_trials_that_have_ended():
    liveness = Liveness(grace=60, interval=20, clock=lambda: 0.0)
    for number in range(3):
        liveness.is_dead(number, None, 0)
    liveness.keep({1})
    assert list(liveness._seen) == [1]


def test_heartbeat_goes_on_when_one_fails_and_ends_with_the_body():
    numbers = []

    def beat(number):
        numbers.append(number)
        if number == 2:
            raise OSError("away")

    with Heartbeat(beat, 0.01):
        while len(numbers) < 4:
            time.sleep(0.01)
    time.sleep(0.05)
    count = len(numbers)
    time.sleep(0.1)
    assert numbers == list(range(1, count + 1))
