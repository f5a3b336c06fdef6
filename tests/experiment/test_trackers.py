"""Trackers in general, on a tracker that only remembers; what real ones write: test_tracker_stores.py."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from helpers import RECIPE, Interrupting, Quiet
from tinynas.experiment import trackers as module
from tinynas.experiment.config import RetrainConfig
from tinynas.experiment.plans import RetrainPlan
from tinynas.experiment.trackers import TRACKERS, TrackedRun, TrackerKind, Trackers, check_trackers, figures_in
from tinynas.pipelines.retrain import retrain
from tinynas.utils.errors import InputError


class Remembering:
    """A tracker that remembers what it receives, for all its instances, and fails in methods that a test names."""

    calls = ()
    failing = ()

    def _call(self, name, *content):
        if name in self.failing:
            raise OSError(28, "No space left on device")
        self.calls.append((name, *content))

    def start(self, run, run_id):
        self._call("start", run_id)
        return run_id or "new"

    def address(self):
        return "here"

    def add(self, figures, *, step, of):
        self._call("add", step, dict(figures))

    def finish(self, figures, files, *, status):
        self._call("finish", dict(figures), [path.name for path in files], status)


@pytest.fixture
def remembering(monkeypatch):
    """Makes "json" a tracker, as there is a package of this name; its class."""
    monkeypatch.setattr(Remembering, "calls", [])
    monkeypatch.setattr(Remembering, "failing", ())
    monkeypatch.setitem(TRACKERS, "json", TrackerKind("Memory", "Remembering", "check it"))
    monkeypatch.setattr(module, "import_module", lambda name, package: SimpleNamespace(Remembering=Remembering))
    return Remembering


@pytest.fixture
def plan(remembering, watched, space, tmp_path):
    return RetrainPlan(
        folder=tmp_path / "run" / "retrain" / "r",
        arch=space.min(),
        config=RetrainConfig(recipe=RECIPE),
        track=("json",),
    )


def tracked_run(folder):
    ids = folder / "trackers.json"
    return TrackedRun(folder=folder, ids=ids, name="r", group="r", command="search", identity="a", settings={})


def test_retraining_is_tracked_from_its_start_to_its_figures(remembering, plan):
    metrics = retrain(plan, report=Quiet())
    records = [json.loads(line) for line in (plan.folder / "log.jsonl").read_text().splitlines()]
    first, *adds, last = remembering.calls
    assert first == ("start", None)
    assert [(step, figures["val_accuracy"]) for _, step, figures in adds] == [
        (record["step"], record["val_accuracy"]) for record in records
    ]
    assert {"loss", "lr", "batches_per_second"} <= set(adds[0][2])
    assert "step" not in adds[0][2]
    _, figures, files, status = last
    assert status == "FINISHED"
    assert files == ["config.yaml", "metrics.json", "model.safetensors"]
    assert figures["final/accuracy"] == metrics.accuracy
    assert figures["final/macs"] == metrics.cost.macs


def test_interrupted_retraining_continues_its_run(remembering, plan):
    with pytest.raises(KeyboardInterrupt):
        retrain(plan, report=Interrupting(after=8))
    assert remembering.calls[-1] == ("finish", {}, [], "KILLED")
    assert json.loads((plan.folder / "trackers.json").read_text()) == {"json": {"retraining": "new"}}
    retrain(plan, report=Quiet())
    assert ("start", "new") in remembering.calls
    assert remembering.calls[-1][-1] == "FINISHED"


def test_run_that_raises_an_error_has_failed(remembering, tmp_path):
    trackers = Trackers(["json"])
    trackers.start(tracked_run(tmp_path))
    with pytest.raises(InputError), trackers:
        raise InputError("no")
    assert remembering.calls[-1] == ("finish", {}, [], "FAILED")


@pytest.mark.parametrize("method", ["add", "finish"])
def test_tracker_that_fails_does_not_end_the_training(remembering, plan, method):
    remembering.failing = (method,)
    report = Quiet()
    retrain(plan, report=report)
    assert (plan.folder / "metrics.json").exists()
    failures = [note for note in report.notes if "Memory" in note and "failed" in note]
    assert failures == ["Memory failed and tracks no longer: [Errno 28] No space left on device"]


def test_tracker_that_cannot_start_is_refused_before_anything_is_trained(remembering, plan):
    remembering.failing = ("start",)
    with pytest.raises(InputError, match=r"^--track json cannot start: \[Errno 28\] No space .*; check it$"):
        retrain(plan, report=Quiet())
    assert not (plan.folder / "log.jsonl").exists()
    assert not (plan.folder / "trackers.json").exists()


def test_trackers_write_nothing_until_they_are_started(remembering, tmp_path):
    with Trackers(["json"]) as trackers:
        trackers.add({"loss": 1.0}, step=1)
        trackers.conclude({"accuracy": 1.0}, [])
    assert remembering.calls == []


def test_figures_that_are_missing_are_left_out(remembering, tmp_path):
    with Trackers(["json"]) as trackers:
        trackers.start(tracked_run(tmp_path))
        trackers.add({"best": None, "networks": 3}, step=3, of="search")
    assert ("add", 3, {"search/networks": 3}) in remembering.calls


def test_searches_of_a_folder_have_runs_of_their_own(remembering, tmp_path):
    path = tmp_path / "trackers.json"
    path.write_text('{"json": {"b": "other"}, "mlflow": {"a": "x"}}')
    with Trackers(["json"]) as trackers:
        trackers.start(tracked_run(tmp_path))
    assert remembering.calls[0] == ("start", None)
    assert json.loads(path.read_text()) == {"json": {"b": "other", "a": "new"}, "mlflow": {"a": "x"}}


def test_figures_are_the_numbers_among_values():
    assert figures_in({"a": 1, "b": 2.5, "c": True, "d": "x", "e": None, "f": {}}, "p/") == {"p/a": 1.0, "p/b": 2.5}


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_tracker_that_is_not_installed_is_refused(name, monkeypatch, fails, tmp_path):
    monkeypatch.setattr(module, "find_spec", lambda package: None)
    for command in ("search", "retrain"):
        words = ["--tensorboard"] if name == "tensorboard" else ["--track", name]
        error = fails(command, *words)
        assert error == f"tinynas: --track {name} needs the package {name}: pip install 'tinynas[{name}]'\n"
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="needs the package"):
        check_trackers([name])


def test_unknown_tracker_is_refused(fails):
    assert fails("search", "--track", "mlfow") == "tinynas: unknown tracker 'mlfow'; did you mean 'mlflow'?\n"


def test_trackers_are_imported_without_their_packages():
    names = ", ".join(f"tinynas.experiment.{name}_tracker" for name in TRACKERS)
    code = f"import {names}, sys; assert not {{'mlflow', 'wandb', 'tensorboard'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
