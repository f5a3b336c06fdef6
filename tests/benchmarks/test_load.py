"""The load benchmark in small: workers killed and paused, a full disk; and its checks, each of which can fail."""

import json
import os
import subprocess
import sys

import pytest
from common.load_checks import _repeated_evaluations, check_search
from common.load_cost import summarise_samples
from common.load_scenarios import can_mount
from common.load_search import EventLog, StubSearch, stub_score
from common.load_workers import Workers
from common.postgres import missing_postgres

from helpers import ROOT
from tinynas import load_space

NOTHING_WRONG = {
    "lost": 0,
    "recorded_twice": 0,
    "evaluated_twice": 0,
    "running": 0,
    "wrong_scores": 0,
    "fronts": 1,
    "same_front": True,
    "errors": 0,
}
# In a process of its own, which can be forked: one that has no threads and has not imported torch.
SCENARIO = """
import json, sys
from pathlib import Path
from common import load_scenarios, load_search
name, folder, workers, trials = sys.argv[1:]
load_scenarios.KILL_EVERY, load_scenarios._AWAY = 1.5, 0.5
load_scenarios._GRACE, load_scenarios._PAUSE, load_scenarios._PAUSE_EVERY = 1.0, 3.0, 2.0
load_scenarios._CRASH_AT, load_scenarios._RESTART_AT = 2.0, 6.0
load_search.SECONDS = (0.1, 1.0)
print(json.dumps(getattr(load_scenarios, name)(Path(folder), int(workers), int(trials))))
"""


@pytest.fixture
def run_scenario(tmp_path):
    """A function that runs a scenario in small and returns its summary."""

    def run(name, workers, trials):
        command = [sys.executable, "-c", SCENARIO, name, str(tmp_path), str(workers), str(trials)]
        path = {"PYTHONPATH": os.pathsep.join([str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH", "")])}
        ended = subprocess.run(command, env=os.environ | path, text=True, capture_output=True, timeout=300)
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    return run


def assert_nothing_wrong(summary, trials):
    assert {name: summary[name] for name in NOTHING_WRONG} == NOTHING_WRONG, summary
    assert summary["trials"] == trials


def test_killed_workers_of_a_journal_lose_nothing(run_scenario):
    summary = run_scenario("kill_on_journal", 4, 40)
    assert_nothing_wrong(summary, 40)
    assert summary["killed"] >= 3


@pytest.mark.slow
def test_paused_workers_find_their_trials_taken(run_scenario):
    summary = run_scenario("pause_on_journal", 4, 40)
    assert_nothing_wrong(summary, 40)
    assert summary["pauses"] >= 2


@pytest.mark.slow
@pytest.mark.skipif(bool(missing_postgres()), reason=str(missing_postgres()))
def test_killed_workers_of_a_database_that_crashes_lose_nothing(run_scenario):
    summary = run_scenario("kill_on_postgres", 6, 60)
    assert_nothing_wrong(summary, 60)
    assert summary["killed"] >= 3
    assert any("trying again" in note for note in summary["notes"])
    assert summary["connections"] <= 2 * 6


@pytest.mark.skipif(not can_mount(), reason="only root can mount a small disk")
def test_search_on_a_full_disk_names_it_and_resumes(run_scenario):
    summary = run_scenario("fill_disk", 2, 100)
    assert_nothing_wrong(summary, 100)
    assert 0 < summary["kept"] < 100
    (message,) = summary["messages"]
    assert "DISK/study.journal: [Errno 28] No space left on device; the disk is full" in message


@pytest.fixture
def finished(tmp_path):
    """A finished search of two networks, and the log of its evaluations."""
    search = StubSearch(storage=str(tmp_path / "study.journal"), trials=2, log=tmp_path / "log", sleeps=False)
    search.run(0)
    workers = Workers(search, 1)
    assert {name: check_search(workers)[name] for name in NOTHING_WRONG} == NOTHING_WRONG
    return workers, EventLog(search.log)


def test_check_counts_a_network_that_was_begun_and_never_completed(finished):
    workers, log = finished
    log.add("begin", 1, "another network")
    assert check_search(workers)["lost"] == 1


def test_check_compares_the_fronts_of_all_workers(finished):
    workers, log = finished
    log.add("front", 1, "another front")
    checks = check_search(workers)
    assert (checks["fronts"], checks["same_front"]) == (2, False)


def test_check_counts_what_workers_write_to_stderr(finished):
    workers, log = finished
    log.path.with_name(f"{log.path.name}.1.err").write_text("Traceback")
    assert check_search(workers)["errors"] == 1


@pytest.mark.parametrize(
    ("killed", "last", "counts"),
    [
        ([1], "end", (1, 0)),  # killed after the evaluation, before it was recorded
        ([], "end", (0, 1)),
        ([1], "begin", (0, 1)),  # it went on to another network, so it had recorded the first
    ],
)
def test_check_excuses_a_repeated_evaluation_only_if_it_could_not_be_recorded(killed, last, counts):
    events = [{"event": "end", "worker": 1, "what": "a"}]
    if last == "begin":
        events.append({"event": "begin", "worker": 1, "what": "b"})
    events.append({"event": "end", "worker": 2, "what": "a"})
    assert _repeated_evaluations(events, killed) == counts


def test_stub_scores_are_fixed_by_the_arch():
    space = load_space("micro-v1")
    assert stub_score(space.max()) == stub_score(space.max()) != stub_score(space.min())


def test_cost_is_the_time_of_all_workers_for_a_trial():
    """Two workers that see all 300 evaluations, of 1 and 2 s of processor time a hundred: 30 ms an evaluation."""
    events = []
    for worker, seconds in ((0, 1.0), (1, 2.0)):
        for number in (100, 200, 300):
            sample = json.dumps([number, 5 + seconds * number / 100, 1e6 * number])
            events.append({"event": "sample", "worker": worker, "what": sample})
    summary = summarise_samples(events, 300)
    assert summary == {"evaluations": [200, 300], "milliseconds": [30.0, 30.0], "megabytes": [200.0, 300.0]}
