import os
import subprocess
import sys

import pytest

from tinynas.utils import machine
from tinynas.utils.errors import InputError
from tinynas.utils.machine import LOADERS_VARIABLE, loader_workers, num_cores, processes_on_machine, sharing_machine


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in (LOADERS_VARIABLE, "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def eight_cores(monkeypatch):
    monkeypatch.setattr(machine, "num_cores", lambda: 8)


def test_processes_of_the_machine_share_its_cores(eight_cores, monkeypatch):
    assert loader_workers() == 8
    with sharing_machine(3):
        assert loader_workers() == 2
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert loader_workers() == 2
    with sharing_machine(9):
        assert processes_on_machine() == 36
        assert loader_workers() == 1, "each has a process that loads"
    assert processes_on_machine() == 4


def test_many_cores_have_sixteen_loaders(monkeypatch):
    monkeypatch.setattr(machine, "num_cores", lambda: 128)
    assert loader_workers() == 16


def test_number_of_loaders_is_of_each_process(eight_cores, monkeypatch):
    monkeypatch.setenv(LOADERS_VARIABLE, "20")
    with sharing_machine(2):
        assert loader_workers() == 20


def test_processes_that_are_started_know_that_they_share_the_machine():
    program = "from tinynas.utils.machine import processes_on_machine; print(processes_on_machine())"
    with sharing_machine(5):
        output = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout
    assert output == "5\n"


@pytest.mark.parametrize("text", ["many", "-1", "1.5"])
def test_number_of_loaders_is_checked(monkeypatch, text):
    monkeypatch.setenv(LOADERS_VARIABLE, text)
    with pytest.raises(InputError, match=f"TINYNAS_LOADERS must be a number of processes, but is '{text}'"):
        loader_workers()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be bound to cores")
def test_cores_are_those_that_the_process_may_use():
    program = "import os; from tinynas.utils.machine import num_cores; os.sched_setaffinity(0, [0]); print(num_cores())"
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, check=True, text=True).stdout == "1\n"
    assert num_cores() >= 1
