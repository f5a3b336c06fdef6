from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from helpers import Quiet, model_of, overrides
from tinynas import cost
from tinynas.early_exit.model_file import read_early_exits
from tinynas.experiment.early_exit_folder import EarlyExitFolder
from tinynas.experiment.exit_plan import EXIT_RULES, ExitPlan
from tinynas.experiment.plans import ExportPlan
from tinynas.models.model_file import read_model, save_model
from tinynas.pipelines.early_exit import make_exits
from tinynas.pipelines.export import export
from tinynas.pipelines.planning import plan_retraining
from tinynas.pipelines.retrain import retrain
from tinynas.pipelines.run_supernet import read_supernet
from tinynas.pipelines.trained_model import load_trained
from tinynas.utils.errors import FileError, InputError
from tinynas.utils.io import read_json


def test_make_exits_writes_its_results(model_file, watched):
    plan = ExitPlan(model=model_file, taps=("stages.0",))
    document = make_exits(plan, report=Quiet()).to_dict()
    folder = model_file.parent / "sidenet"
    written = {"sidenet.safetensors", "sidenet.json", "sidenet.png", "README.md"}
    assert {path.name for path in folder.iterdir()} == written
    assert {"folder": str(folder), **read_json(folder / "sidenet.json")} == document
    assert len(watched.test.looked) == 1
    model = read_early_exits(folder / "sidenet.safetensors")
    images, labels = next(iter(watched.evaluation_batches(watched.test, model.resolution)))
    answers = model.exits(images, threshold=document["thresholds"])
    assert 100 * (answers.logits.argmax(1) == labels).float().mean().item() == pytest.approx(document["accuracy"])
    macs = [entry["macs"] for entry in document["exits"]]
    shares = [entry["share"] for entry in document["exits"]]
    assert document["macs"] == pytest.approx(np.dot(macs, shares))
    assert document["worst_macs"] == macs[-1] > document["mainnet"]["macs"]
    assert document["curve"][0]["accuracy"] == document["exits"][0]["accuracy"]
    assert document["curve"][-1]["accuracy"] == document["mainnet"]["accuracy"]
    assert [entry["allowed"] for entry in document["losses"]] == [0, 0.5, 1]
    again = make_exits(plan, report=Quiet()).to_dict()
    assert again["folder"] == f"{folder}-2", "nothing is overwritten"
    assert again["curve"] == document["curve"]


def test_make_exits_keeps_the_taps_of_the_best_curve(space, watched, tmp_path):
    path = tmp_path / "model" / "model.safetensors"
    arch = replace(space.min(), stages=(*space.min().stages, space.min().stages[-1]))
    save_model(path, replace(model_of(arch, classes=watched.classes), normalise=watched.normalise))
    document = make_exits(ExitPlan(model=path), report=Quiet()).to_dict()
    stages = [f"stages.{i}" for i in range(3)]
    choices = [list(chosen) for count in (1, 2, 3) for chosen in combinations(stages, count)]
    assert [entry["taps"] for entry in document["tried"]] == choices
    best = max(document["tried"], key=lambda entry: entry["hypervolume"])
    assert document["taps"] == best["taps"]
    alone = make_exits(ExitPlan(model=path, taps=tuple(best["taps"])), report=Quiet()).to_dict()
    for name in ("accuracy", "macs", "curve", "thresholds"):
        assert alone[name] == document[name]


@pytest.fixture
def cascade(model_file, watched, space, tmp_path):
    """The arguments of the plan of a cascade: nothing has to be traced, and its threshold is chosen like any other."""
    big = tmp_path / "big" / "model.safetensors"
    save_model(big, replace(model_of(space.max(), classes=watched.classes), normalise=watched.normalise))
    return {"model": big, "tiny": model_file}


@pytest.mark.parametrize(
    ("goal", "threshold"),
    [({"threshold": 0.5}, 0.5), ({"accuracy": 1.0}, 0.0)],  # everything reaches 1%: exit first
)
def test_make_exits_meets_a_goal(cascade, goal, threshold):
    document = make_exits(ExitPlan(**cascade, **goal), report=Quiet()).to_dict()
    assert document["thresholds"] == [threshold]


def test_make_exits_keeps_to_a_goal_in_macs(cascade):
    free = make_exits(ExitPlan(**cascade, threshold=1.1), report=Quiet()).to_dict()
    first, last = (entry["macs"] for entry in free["exits"])
    wanted = (first + last) // 2
    document = make_exits(ExitPlan(**cascade, macs=wanted), report=Quiet()).to_dict()
    assert document["macs"] < 1.2 * wanted < last, "on search-val it is within, on test about"
    assert make_exits(ExitPlan(**cascade, macs=last + 1), report=Quiet()).to_dict()["macs"] <= last
    with pytest.raises(InputError, match="no threshold needs as little as"):
        make_exits(ExitPlan(**cascade, macs=first - 1), report=Quiet())


def test_make_exits_builds_a_cascade(cascade):
    document = make_exits(ExitPlan(**cascade, threshold=0.4), report=Quiet()).to_dict()
    folder = cascade["tiny"].parent / "cascade"
    assert document["folder"] == str(folder)
    assert [entry["name"] for entry in document["exits"]] == ["tiny", "mainnet"]
    assert document["taps"] == []
    assert read_early_exits(folder / "sidenet.safetensors").resolution == 12


def test_make_exits_builds_a_cascade_before_the_supernets_largest_network(searched, watched):
    retrain(plan_retraining(str(searched), overrides=overrides(epochs=1)), report=Quiet())
    tiny = searched / "retrain" / "plain" / "model.safetensors"
    document = make_exits(ExitPlan(model=Path("supernet"), tiny=tiny), report=Quiet()).to_dict()
    arch = read_early_exits(tiny.parent / "cascade" / "sidenet.safetensors").mainnet.net.arch
    largest = read_supernet(searched, watched).space.max()
    assert arch == replace(largest, resolution=read_model(tiny).net.arch.resolution)
    assert document["worst_macs"] == cost(arch).macs + document["exits"][0]["macs"]


def test_make_exits_refuses_bad_plans(model_file, watched, space, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="only one option can choose the threshold"):
        ExitPlan(model=model_file, threshold=0.5, macs=10)
    for wrong, message in (
        ({"seed": -1}, "seed must be at least 0"),
        ({"taps": ("auto", "stem")}, "auto chooses all taps"),
        ({"temperature": 2.0}, "temperature has no effect without distillation"),
        ({"tiny": model_file, "hidden": 8}, "a cascade has no side heads, but hidden is 8"),
        ({"out": model_file.parent}, "is the folder of a model"),
        ({"model": Path("supernet")}, "supernet is a cascade's larger network"),
    ):
        with pytest.raises(InputError, match=message):
            ExitPlan(**{"model": model_file} | wrong)
    with pytest.raises(FileError, match="cannot read supernet"):
        make_exits(ExitPlan(model=model_file, tiny=Path("supernet")), report=Quiet())
    with pytest.raises(InputError, match="needs a model inside a run folder with a supernet"):
        make_exits(ExitPlan(model=Path("supernet"), tiny=model_file), report=Quiet())
    with pytest.raises(InputError, match="every tap must be a different module"):
        make_exits(ExitPlan(model=model_file, taps=("stem", "stem")), report=Quiet())
    with pytest.raises(InputError, match="hidden must be at least 1"):
        make_exits(ExitPlan(model=model_file, hidden=0), report=Quiet())
    with pytest.raises(InputError, match=r"has no module 'stage\.0'; did you mean stages\.0"):
        make_exits(ExitPlan(model=model_file, taps=("stage.0",)), report=Quiet())
    assert not (model_file.parent / "sidenet").exists()
    other = tmp_path / "other.safetensors"
    save_model(other, replace(model_of(space.min(), classes=("x", "y", "z")), normalise=watched.normalise))
    with pytest.raises(InputError, match="has 3 classes"):
        make_exits(ExitPlan(model=other), report=Quiet())
    with pytest.raises(InputError, match="both networks of a cascade must have the same classes"):
        make_exits(ExitPlan(model=other, tiny=model_file), report=Quiet())
    dear = tmp_path / "dear.safetensors"
    save_model(dear, replace(model_of(space.max(), classes=watched.classes), normalise=watched.normalise))
    with pytest.raises(InputError, match="the first network of a cascade must be the cheaper one"):
        make_exits(ExitPlan(model=model_file, tiny=dear), report=Quiet())
    few = replace(watched, val=replace(watched.val, images=watched.val.images[:14], labels=watched.val.labels[:14]))
    monkeypatch.setattr("tinynas.pipelines.model_data.load_data", lambda name, **settings: few)
    with pytest.raises(InputError, match=r"5 images per class .* has 14 images of 3 classes, of one class 4;"):
        make_exits(ExitPlan(model=model_file), report=Quiet())
    known = watched.val.labels < 2
    few = replace(watched, val=replace(watched.val, images=watched.val.images[known], labels=watched.val.labels[known]))
    monkeypatch.setattr("tinynas.pipelines.model_data.load_data", lambda name, **settings: few)
    with pytest.raises(InputError, match=r"one of each class, .* of one class 0;"):
        make_exits(ExitPlan(model=model_file), report=Quiet())


def test_make_exits_refuses_a_detector(detectors, watched, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, model_of(detectors.min()))
    with pytest.raises(InputError, match="only a classifier can have early exits"):
        make_exits(ExitPlan(model=path), report=Quiet())


def test_make_exits_trains_the_model_together_with_its_exits(model_file, watched):
    before = model_file.read_bytes()
    document = make_exits(ExitPlan(model=model_file, taps=("stages.0",), joint=2), report=Quiet()).to_dict()
    assert document["joint_epochs"] == 2
    own = make_exits(ExitPlan(model=model_file, taps=("stages.0",)), report=Quiet()).to_dict()
    assert document["unchanged_accuracy"] == pytest.approx(own["mainnet"]["accuracy"])
    trained = read_early_exits(Path(document["folder"]) / "sidenet.safetensors")
    changed = read_model(model_file).net.state_dict()
    assert any(not tensor.equal(changed[name]) for name, tensor in trained.mainnet.net.state_dict().items())
    assert model_file.read_bytes() == before, "the model's own file stays"
    assert "trained together for 2 epochs" in (Path(document["folder"]) / "README.md").read_text()


@pytest.mark.parametrize("rule", EXIT_RULES)
def test_make_exits_decides_by_a_rule_with_thresholds_for_each_exit(model_file, watched, rule):
    plan = ExitPlan(model=model_file, taps=("stem", "stages.0"), rule=rule, thresholds="per-exit", seconds=60.0)
    document = make_exits(plan, report=Quiet()).to_dict()
    assert document["rule"] == rule
    assert len(document["exit_seconds"]) == 3
    model = load_trained(Path(document["folder"]) / "sidenet.safetensors")
    evaluation = model.evaluate(watched)
    assert evaluation.accuracy == pytest.approx(document["accuracy"])
    assert evaluation.macs == pytest.approx(document["macs"])
    again = EarlyExitFolder(Path(document["folder"])).read_report()
    assert again.to_dict() == {key: value for key, value in document.items() if key != "folder"}


@pytest.mark.parametrize(
    ("rule", "to", "message"),
    [
        (
            "patience",
            "onnx",
            "one exit's probabilities, but the rule of these exits is patience; choose the rule",
        ),
        ("gate", "tflite", "one exit's probabilities, but the rule of these exits is gate"),
        ("margin", "firmware", "firmware decides by confidence, but the rule of these exits is margin"),
    ],
)
def test_export_refuses_rules_that_files_cannot_decide_by(model_file, watched, rule, to, message):
    folder = make_exits(ExitPlan(model=model_file, taps=("stages.0",), rule=rule), report=Quiet()).folder
    with pytest.raises(InputError, match=message):
        export(ExportPlan(model=folder / "sidenet.safetensors", out=folder, to=to), report=Quiet())
