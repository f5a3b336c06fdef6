import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tinynas.utils.processes import TERMINATED, exit_on_sigterm, signals_deferred

PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())], stdout=sys.stdout)
print(child.pid, flush=True)
time.sleep(30)
"""
CHILD = """
import os, sys, time
from functools import partial
from tinynas.utils.processes import watch_parent
watch_parent(int(sys.argv[1]), partial(os._exit, 1))
print("watching", flush=True)
time.sleep(30)
"""


def terminate(cleaned_up):
    """Send SIGTERM to this process, and again while it cleans up, which does not interrupt it."""
    with exit_on_sigterm():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            cleaned_up.append(True)


def test_sigterm_is_an_exit_that_cleans_up():
    before = signal.getsignal(signal.SIGTERM)
    cleaned_up = []
    with pytest.raises(SystemExit) as end:
        terminate(cleaned_up)
    assert end.value.code == TERMINATED == 143
    assert cleaned_up
    assert signal.getsignal(signal.SIGTERM) is before


def interrupt(done):
    with signals_deferred():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        done.append("body")
    done.append("after it")


def test_deferred_signals_take_effect_after_the_body():
    before = signal.getsignal(signal.SIGINT)
    done = []
    with pytest.raises(KeyboardInterrupt):
        interrupt(done)
    assert done == ["body"]
    assert signal.getsignal(signal.SIGINT) is before


def no_signals(done):
    with signals_deferred():
        done.append("body")


def test_signals_are_not_deferred_in_other_threads():
    with ThreadPoolExecutor(1) as pool:
        done = []
        pool.submit(no_signals, done).result()
    assert done == ["body"]


def test_process_ends_with_its_parent():
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    assert parent.stdout.readline() == "watching\n"
    time.sleep(1)
    os.kill(child, 0)  # it does not end as long as its parent lives
    parent.kill()
    parent.wait()
    assert parent.stdout.read() == ""  # ends when the child, which has the pipe as well, is gone
    parent.stdout.close()
