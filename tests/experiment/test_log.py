import json
from dataclasses import replace

import pytest

from helpers import RECIPE, Interrupting, Quiet
from tinynas.experiment.config import RetrainConfig
from tinynas.experiment.log import RunLog
from tinynas.experiment.plans import RetrainPlan
from tinynas.experiment.trackers import TrackedRun, Trackers
from tinynas.pipelines.retrain import retrain


def test_log_writes_its_figures_to_tensorboard_also_when_resumed(watched, space, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    arch = replace(space.min(), resolution=12)
    plan = RetrainPlan(folder=tmp_path / "r", arch=arch, config=RetrainConfig(recipe=RECIPE), track=("tensorboard",))
    with pytest.raises(KeyboardInterrupt):
        retrain(plan, report=Interrupting(after=8))
    retrain(plan, report=Quiet())
    written = EventAccumulator(str(tmp_path / "r" / "tensorboard")).Reload()
    lines = [json.loads(line) for line in (tmp_path / "r" / "log.jsonl").read_text().splitlines()]
    for name in ("loss", "val_accuracy", "batches_per_second"):
        events = [(event.step, event.value) for event in written.Scalars(name)]
        assert events == [(line["step"], pytest.approx(line[name], rel=1e-6)) for line in lines]


def test_log_drops_repeated_steps(tmp_path):
    path = tmp_path / "log.jsonl"
    first = RunLog(path)
    for step in (10, 20, 30):
        first.add({"step": step, "loss": 1})
    with open(path, "a") as file:
        file.write('{"step": 40, "lo')  # cut off
    second = RunLog(path)
    for step in (20, 30, 40):
        second.add({"step": step, "loss": 2})
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(r["step"], r["loss"]) for r in records] == [(10, 1), (20, 2), (30, 2), (40, 2)]


def test_log_writes_no_scalar_for_a_missing_figure(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = {"name": "r", "group": "r", "command": "retrain", "identity": "", "settings": {"lr": 0.1}}
    with Trackers(["tensorboard"]) as trackers:
        trackers.start(TrackedRun(folder=tmp_path, ids=tmp_path / "trackers.json", **run))
        log = RunLog(tmp_path / "log.jsonl", trackers=trackers)
        log.add({"step": 1, "loss": None})
        log.add({"step": 2, "loss": 0.5})
    assert (tmp_path / "log.jsonl").read_text().splitlines()[0] == '{"step": 1, "loss": null}'
    written = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in written.Scalars("loss")] == [(2, 0.5)]
