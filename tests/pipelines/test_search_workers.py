import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from uuid import uuid4

import numpy as np
import optuna
import pytest
import yaml
from PIL import Image

from helpers import SMALL, Quiet, SplitThatFails
from pictures import PICTURES
from tinynas.data.memory import MemorySplit
from tinynas.pipelines import worker_processes
from tinynas.pipelines.search import search
from tinynas.pipelines.search_progress import SearchDisplay
from tinynas.study.index import WORKER
from tinynas.study.storage import open_storage, quiet_optuna
from tinynas.utils.errors import InputError

ADVICE = "add --resume to continue from the last checkpoint, if there is one"
STOPS = [  # at the first line of this pattern, by this signal, sent to the whole process group as a terminal does
    ("supernet 1/", "SIGINT", True),
    ("supernet 1/", "SIGKILL", False),
    ("starting 1 worker", "SIGINT", True),
    ("starting 1 worker", "SIGTERM", False),
    (r"search \d+/", "SIGINT", True),
    (r"search \d+/", "SIGINT", False),
    (r"search \d+/", "SIGTERM", False),
    (r"search \d+/", "SIGKILL", False),
]
ENDS = {  # exit code and last line
    "SIGINT": (130, [f"tinynas: interrupted; {ADVICE}"]),
    "SIGTERM": (143, [f"tinynas: terminated; {ADVICE}"]),
    "SIGKILL": (-9, []),
}


def plan_for(plan, workers, **settings):
    return replace(plan, settings=replace(plan.settings, workers=workers, **settings))


def trials_of(run):
    with quiet_optuna():
        storage = open_storage(str(run / "study.journal"))
        (name,) = optuna.get_all_study_names(storage)
        return optuna.load_study(study_name=name, storage=storage).trials


def processes_that_evaluated(run):
    """The process ids of the trials that are complete."""
    return {trial.user_attrs[WORKER]["pid"] for trial in trials_of(run) if trial.values}


def test_workers_search_together(watched, plan):
    report = Quiet()
    result = search(plan_for(plan, 2, trials=40, sampler="random"), report=report)
    assert result.evaluations == 40
    assert len(processes_that_evaluated(plan.run)) == 2
    assert [note for note in report.notes if note.startswith("search: starting")] == [
        "search: starting 1 worker beside this process"
    ]


def test_no_more_workers_start_than_there_are_trials(watched, plan):
    for trials, started in ((1, []), (2, ["search: starting 1 worker beside this process"])):
        report = Quiet()
        search(plan_for(plan, 3, trials=trials), report=report)
        assert [note for note in report.notes if note.startswith("search: starting")] == started


@pytest.mark.slow
def test_workers_race_together(watched, plan):
    result = search(plan_for(plan, 2, trials=40, sampler="random", race=True), report=Quiet())
    assert len(processes_that_evaluated(plan.run)) == 2
    states = Counter(trial.state.name for trial in trials_of(plan.run))
    assert states["COMPLETE"] == result.evaluations
    assert states["COMPLETE"] + states["PRUNED"] == 40


@pytest.mark.slow
def test_worker_that_fails_is_reported_and_the_search_continues(watched, plan, monkeypatch):
    val = SplitThatFails(images=watched.val.images, labels=watched.val.labels)
    vars(val)["pid"] = os.getpid()
    monkeypatch.setattr("tinynas.pipelines.search.load_data", lambda name, **settings: replace(watched, val=val))
    report = Quiet()
    assert search(plan_for(plan, 3), report=report).evaluations == 12
    about_failures = re.compile(r"worker \d: trial \d+ failed|worker \d has ended")
    failures = [note for note in report.notes if about_failures.match(note)]
    assert {note[: len("worker 2")] for note in failures} == {"worker 2", "worker 3"}
    assert [note for note in failures if "no memory for images" not in note] == []
    assert sum("has ended" in note for note in failures) == 2, "a broken worker does not use up all networks"


def run_worker(task):
    """Run a worker, and return what it made known."""
    report = Quiet()
    worker = worker_processes.WorkerProcess(2, task, SearchDisplay(report, trials=1), what="the search")
    worker.wait(60)
    worker.kill()
    assert worker.started.is_set()
    return report.notes


def test_worker_that_dies_says_why(monkeypatch):
    (note,) = run_worker(b"garbage")
    assert re.fullmatch(r"worker 2 has ended: .*UnpicklingError: .*; the search continues without it", note)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert run_worker(b"") == ["worker 2 has ended: exit code 1; the search continues without it"]


@pytest.fixture
def replace_worker(tmp_path, monkeypatch):
    """Lets a worker run these lines of sh instead."""

    def run(*lines):
        program = tmp_path / "program"
        program.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

    return run


def test_worker_that_is_killed_is_reported(replace_worker):
    replace_worker("echo some warning >&2", "kill -9 $$")
    assert run_worker(b"task") == ["worker 2 has ended: it was killed by SIGKILL; the search continues without it"]


def test_worker_shows_its_messages_and_nothing_else(replace_worker, capfd):
    sent = io.BytesIO()
    worker_processes.Messages(sent).note("größer")
    replace_worker("echo some warning >&2", f"echo '{sent.getvalue().decode().strip()}'")
    assert run_worker(b"task") == ["worker 2: größer"]
    assert capfd.readouterr() == ("", "")


def test_worker_that_ignores_sigterm_is_killed_with_its_children(replace_worker, monkeypatch):
    replace_worker("trap '' TERM", "sleep 30 &", "echo '[\"ready\", null]'", "sleep 30", "sleep 30")
    monkeypatch.setattr(worker_processes, "_STOP_SECONDS", 0.5)
    report = Quiet()
    worker = worker_processes.WorkerProcess(2, b"", SearchDisplay(report, trials=1), what="the search")
    assert worker.started.wait(30)
    begin = time.monotonic()
    worker_processes.stop([worker])  # also waits for the end of the pipe, which the children have
    assert time.monotonic() - begin < 5
    assert report.notes == []


def test_workers_refuse_data_that_cannot_be_sent(watched, plan, monkeypatch):
    val = MemorySplit(images=watched.val.images, labels=watched.val.labels)
    vars(val)["read"] = lambda index: index
    monkeypatch.setattr("tinynas.pipelines.search.load_data", lambda name, **settings: replace(watched, val=val))
    message = r"the data set digits cannot be sent to other processes \(.*lambda.*\); use --workers 1"
    with pytest.raises(InputError, match=message):
        search(plan_for(plan, 2), report=Quiet())


@pytest.fixture(scope="module")
def image_search(tmp_path_factory):
    """A folder with a trained run, of so many image files that loader processes read search-val, too."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
    rng = np.random.default_rng(0)
    for part, count in (("train", 1400), ("val", 4)):
        for label in ("cat", "dog"):
            (folder / "images" / part / label).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "images" / part / label / f"{number}.png")
    words = ["search", "--space", "small.yaml", "--data", "imagefolder:images", "--batch-size", "256", "--epochs", "1"]
    command = Command(folder, *words, "--flops", "1M", "--trials", "1", "--run", "trained")
    shown = command.process.stdout.read()
    assert command.process.wait() == 0, shown
    command.process.stdout.close()
    return folder


class Command:
    """A command in a process group of its own; its processes are known by a variable in their environment."""

    def __init__(self, folder, *words):
        self.mark = uuid4().hex
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tinynas.cli", *map(str, words)],
            cwd=folder,
            env=os.environ | {"TINYNAS_TEST": self.mark, "TINYNAS_LOADERS": "2"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def read_until(self, pattern):
        lines = []
        for line in self.process.stdout:
            if re.search(pattern, line):
                return
            lines.append(line)
        raise AssertionError(f"the command has ended without {pattern}: {lines}")

    def processes(self):
        """The command lines of all its processes that have not ended."""
        lines = {}
        for name in os.listdir("/proc"):
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    is_own = self.mark.encode() in file.read()
                if is_own:
                    with open(f"/proc/{name}/cmdline", encoding="utf-8") as file:
                        lines[int(name)] = file.read().replace("\0", " ")
            except (OSError, ValueError):
                continue
        return {number: line for number, line in lines.items() if line}  # a process that has ended has none

    def wait_for_loaders(self, program, count):
        """Wait until a program of the command runs in so many processes: all but the first are loaders."""
        deadline = time.monotonic() + 60
        while sum(program in line for line in self.processes().values()) <= count:
            assert time.monotonic() < deadline, self.processes()

    def wait_for_end(self, seconds):
        deadline = time.monotonic() + seconds
        while self.processes() and time.monotonic() < deadline:
            self.process.poll()
            time.sleep(0.05)
        assert not self.processes()


@pytest.fixture
def start(tmp_path):
    """Starts commands in the test's folder, and kills what is left of them."""
    commands = []

    def started(*words):
        commands.append(Command(tmp_path, *words))
        return commands[-1]

    yield started
    for command in commands:
        for number in command.processes():
            os.kill(number, signal.SIGKILL)
        command.process.stdout.close()
        command.process.wait()


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="finds processes in /proc")
@pytest.mark.parametrize(("pattern", "name", "to_group"), STOPS)
def test_search_that_is_stopped_leaves_nothing(image_search, tmp_path, start, pattern, name, to_group):
    shutil.copytree(image_search, tmp_path, dirs_exist_ok=True)
    words = ["search", "--run", "trained", "--flops", "2M", "--workers", "2", "--sampler", "random"]
    if pattern.startswith("supernet"):
        words += ["--resume"]
        (tmp_path / "trained" / "supernet.pt").unlink()
    command = start(*words, "--trials", "100000")
    command.read_until(pattern)
    if pattern.startswith("search"):
        command.wait_for_loaders("pipelines.worker", 1)
    number = getattr(signal, name)
    if to_group:
        os.killpg(command.process.pid, number)
    else:
        command.process.send_signal(number)
    command.wait_for_end(10)  # 3 seconds where processors are idle
    code, last_lines = ENDS[name]
    shown = command.process.stdout.read()
    assert command.process.wait() == code
    assert [line for line in shown.splitlines() if not line.startswith(("supernet ", "search"))] == last_lines
    assert [path for path in (tmp_path / "trained").iterdir() if "tmp" in path.name] == []


@pytest.mark.slow
@pytest.mark.parametrize("copies", [1, 12])
def test_workers_search_image_files_of_mixed_modes(tmp_path, start, copies):
    """With few files, and with so many that loaders read them."""
    for part in ("train", "val"):
        for label in ("cat", "dog"):
            folder = tmp_path / "mixed" / part / label
            folder.mkdir(parents=True)
            for name, picture in PICTURES.items():
                for number in range(copies):
                    (folder / f"{number}-{name}").write_bytes(picture.content)
    words = ["search", "--space", "mcu", "--data", "imagefolder:mixed", "--flops", "30M", "--epochs", "1"]
    command = start(*words, "--trials", "10", "--workers", "2", "--run", "run")
    shown = command.process.stdout.read()
    assert command.process.wait() == 0, shown
    assert len(processes_that_evaluated(tmp_path / "run")) == 2
    beginnings = (
        "data: ",
        "  ",
        "networks are run by ",
        "supernet ",
        "search",
        "waiting for the last networks, evaluated by ",  # where one process ends before the other, which is chance
        "worker 2: waiting for the last networks, evaluated by ",
        "predictor: ",
        "Pareto front ",
        "best ",
        "warning: accuracy ",
        "report: run/report.html",
        "written to run: ",
        "next: tinynas retrain run",
    )
    unknown = [line for line in shown.splitlines() if not line.startswith(beginnings)]
    assert unknown == []
