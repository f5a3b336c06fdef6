import json

import pytest

from tinynas import build
from tinynas.models.model_file import Model, save_model
from tinynas.pipelines.planning import plan_retraining
from tinynas.utils.errors import BudgetError, FileError, InputError


def test_plan_retraining_refuses_contradictions(searched, watched, monkeypatch):
    how = {"resume": False, "netaug": True}
    for name in ("a/b", "../out", "", ".."):
        with pytest.raises(InputError, match="a name is that of one folder"):
            plan_retraining(str(searched), name=name, given={}, **how)
    with pytest.raises(InputError, match="unknown initialisation 'kaiming-unifrom'; did you mean 'kaiming-uniform'"):
        plan_retraining(str(searched), name=None, given={"init": "kaiming-unifrom"}, **how)
    for given in ({"init": "supernet"}, {"teacher": "supernet"}):
        with pytest.raises(InputError, match=r"a supernet starts and teaches .*\(supernet='digits', network='other'\)"):
            plan_retraining(str(searched), name=None, given={"data": "other", **given}, **how)


def test_plan_retraining_chooses_a_network_of_the_front_by_limits(searched):
    front = json.loads((searched / "front.json").read_text())["front"]
    for limit in sorted(entry["macs"] for entry in front):
        plan = plan_retraining(str(searched), name=None, resume=False, netaug=False, limits={"macs": limit}, given={})
        best = max((entry for entry in front if entry["macs"] <= limit), key=lambda entry: entry["accuracy"])
        assert plan.arch.to_dict() == best["arch"]
        assert plan.folder.name == f"plain-macs-{limit}"
    with pytest.raises(BudgetError, match=r"no network of .*'s front is within macs <= 10; its least are macs"):
        plan_retraining(str(searched), name=None, resume=False, netaug=False, limits={"macs": 10}, given={})


def test_plan_retraining_takes_a_supernet_only_from_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for given in ({"init": "supernet"}, {"teacher": "supernet"}):
        with pytest.raises(InputError, match=r"only a run has a supernet .*, and mcunet-in3 is none"):
            plan_retraining("mcunet-in3", name=None, resume=False, netaug=False, given=given)
    with pytest.raises(FileError, match=r"no .*best\.yaml"):
        plan_retraining(None, name=None, resume=False, netaug=False, given={"init": "supernet"})


def test_plan_retraining_refuses_what_would_be_ignored(space, watched, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    how = {"name": None, "resume": False, "netaug": False}
    with pytest.raises(InputError, match=r"limits choose a network of a run's front` must hold, but got .macs=10"):
        plan_retraining("mcunet-in3", limits={"macs": 10}, given={}, **how)
    path = tmp_path / "pretrained.safetensors"
    save_model(path, Model(net=build(space.min()), data="a", classes=tuple("abc"), normalise=watched.normalise))
    with pytest.raises(InputError, match=r"limits choose"):
        plan_retraining(None, source=path, limits={"macs": 10}, given={}, **how)
    with pytest.raises(InputError, match=r"has its own weights` must hold, but got .init='supernet'"):
        plan_retraining(None, source=path, given={"init": "supernet"}, **how)
    with pytest.raises(InputError, match=r"has its own network"):
        plan_retraining("mcunet-in3", source=path, given={}, **how)
    for other in ({"limits": {"macs": 10}}, {"source": path}, {"task": "detect"}):
        with pytest.raises(InputError, match=r"a resumed retraining has its network"):
            plan_retraining(None, given={}, **how | {"resume": True} | other)


def test_plan_retraining_makes_paths_absolute(tmp_path, monkeypatch):
    """So that a retraining goes on from wherever it is resumed."""
    monkeypatch.chdir(tmp_path)
    given = {"data": "imagefolder:cars", "teacher": "torchvision:resnet18:w.pth"}
    config = plan_retraining("mcunet-in3", name=None, resume=False, netaug=False, given=given).config
    assert config.data == f"imagefolder:{tmp_path}/cars"
    assert config.distillation.teacher == f"torchvision:resnet18:{tmp_path}/w.pth"
    for data, teacher in (("digits", "torchvision:resnet18"), ("fashion-mnist:", "torchvision:resnet18")):
        given = {"data": data, "teacher": teacher}
        config = plan_retraining("mcunet-in3", name=None, resume=False, netaug=False, given=given).config
        assert (config.data, config.distillation.teacher) == (data, teacher)
