import json
from dataclasses import asdict, replace

import pytest

from helpers import Quiet, overrides
from tinynas import Budget, build, load_arch
from tinynas.experiment.config import RetrainConfig, SupernetConfig
from tinynas.experiment.saved import save_config
from tinynas.experiment.search_settings import SearchSettings
from tinynas.models.model_file import Model, save_model
from tinynas.pipelines.planning import plan_retraining
from tinynas.pipelines.search import search
from tinynas.pipelines.search_planning import plan_search
from tinynas.utils.errors import BudgetError, FileError, InputError
from tinynas.utils.overrides import Overrides


def test_plan_retraining_refuses_contradictions(searched, watched, monkeypatch):
    for name in ("a/b", "../out", "", ".."):
        with pytest.raises(InputError, match="a name must be that of one folder"):
            plan_retraining(str(searched), name=name)
    with pytest.raises(InputError, match="unknown initialisation 'kaiming-unifrom'; did you mean 'kaiming-uniform'"):
        plan_retraining(str(searched), overrides=overrides(init="kaiming-unifrom"))
    for setting in ({"init": "supernet"}, {"teacher": "supernet"}):
        with pytest.raises(InputError, match=r"was trained on digits, the network is for other"):
            plan_retraining(str(searched), overrides=overrides(data="other", **setting))


def test_plan_retraining_chooses_a_network_of_the_front_by_limits(searched):
    front = json.loads((searched / "front.json").read_text())["front"]
    for limit in sorted(entry["macs"] for entry in front):
        plan = plan_retraining(str(searched), budget=Budget(macs=limit))
        best = max((entry for entry in front if entry["macs"] <= limit), key=lambda entry: entry["accuracy"])
        assert plan.arch.to_dict() == best["arch"]
        assert plan.folder.name == f"plain-macs-{limit}"
    with pytest.raises(BudgetError, match=r"that .* has evaluated keeps macs <= 10; the smallest values are macs"):
        plan_retraining(str(searched), budget=Budget(macs=10))


def test_plan_retraining_refuses_a_best_network_that_is_not_that_of_the_front(searched):
    best = searched / "best.yaml"
    intact = best.read_text()
    arch = load_arch(best)
    best.write_text(replace(arch, resolution=arch.resolution + 1).to_yaml())
    with pytest.raises(FileError) as error:
        plan_retraining(str(searched))
    assert str(error.value) == (
        f"{best} differs from the best network in {searched / 'front.json'}; "
        f"`tinynas search --run {searched} --resume` writes both again, "
        f"`tinynas retrain {best}` takes the file as it is"
    )
    resumed = plan_search(searched, resume=True)
    search(resumed, report=Quiet())
    assert best.read_text() == intact
    assert plan_retraining(str(searched)).arch == arch


def test_plan_retraining_takes_a_supernet_only_from_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for setting in ({"init": "supernet"}, {"teacher": "supernet"}):
        with pytest.raises(InputError, match=r"only a searched run has a supernet"):
            plan_retraining("mcunet-in3", overrides=overrides(**setting))
    with pytest.raises(FileError, match=r"no .*best\.yaml"):
        plan_retraining(None, overrides=overrides(init="supernet"))


def test_plan_retraining_refuses_what_would_be_ignored(space, watched, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"limits choose a network of a run; remove limits .*10"):
        plan_retraining("mcunet-in3", budget=Budget(macs=10))
    path = tmp_path / "pretrained.safetensors"
    save_model(path, Model(net=build(space.min()), data="a", classes=tuple("abc"), normalise=watched.normalise))
    with pytest.raises(InputError, match=r"has its network; remove limits"):
        plan_retraining(None, source=path, budget=Budget(macs=10))
    with pytest.raises(InputError, match=r"has its own weights; remove init supernet"):
        plan_retraining(None, source=path, overrides=overrides(init="supernet"))
    with pytest.raises(InputError, match=r"has its network; remove target mcunet-in3"):
        plan_retraining("mcunet-in3", source=path)
    for other in ({"budget": Budget(macs=10)}, {"source": path}, {"task": "detect"}):
        with pytest.raises(InputError, match=r"a resumed retraining has its network"):
            plan_retraining(None, resume=True, **other)


@pytest.mark.parametrize("setting", [{"sorted_channels": "expanded"}, {"sort_from_epoch": 1}])
def test_plan_retraining_refuses_settings_of_sorting_without_it(watched, tmp_path, monkeypatch, setting):
    monkeypatch.chdir(tmp_path)
    (name,) = setting
    with pytest.raises(InputError, match=f"{name} is .*, which has no effect without sort; add --sort, or remove it"):
        plan_retraining("mcunet-in3", overrides=overrides(data="other", netaug=True, **setting))
    for sort in (True, False):  # files that retrainings have written have both
        plan = plan_retraining("mcunet-in3", overrides=overrides(data="other", netaug=True, sort=sort, **setting))
        save_config(plan.folder / "config.yaml", {"arch": plan.arch.to_dict(), **asdict(plan.config)})
        assert plan_retraining(None, resume=True, name=plan.folder.name) == plan


def test_plan_retraining_makes_paths_absolute(tmp_path, monkeypatch):
    """So that a retraining can be resumed from any folder."""
    monkeypatch.chdir(tmp_path)
    config = overrides(data="imagefolder:cars", teacher="torchvision:resnet18:w.pth").apply(RetrainConfig())
    assert config.data == f"imagefolder:{tmp_path}/cars"
    assert config.distillation.teacher == f"torchvision:resnet18:{tmp_path}/w.pth"
    for data, teacher in (("digits", "torchvision:resnet18"), ("fashion-mnist:", "torchvision:resnet18")):
        config = overrides(data=data, teacher=teacher).apply(RetrainConfig())
        assert (config.data, config.distillation.teacher) == (data, teacher)


def test_plan_retraining_fits_the_arch_to_the_data(watched, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = plan_retraining("mcunet-in3", overrides=overrides(data="other"))
    assert plan.arch == replace(load_arch("mcunet-in3"), in_channels=1, classes=3)


def test_plan_retraining_resumes_a_retraining_of_the_network(watched, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = plan_retraining("mcunet-in3", overrides=overrides(data="other", alpha=0.5, netaug=True))
    save_config(plan.folder / "config.yaml", {"arch": plan.arch.to_dict(), **asdict(plan.config)})
    assert plan.notes, "what was chosen for the recipe is said once"
    assert plan_retraining("mcunet-in3", resume=True) == plan
    assert plan_retraining(None, resume=True, overrides=overrides(alpha=0.5)) == plan
    with pytest.raises(FileError, match=r"no unfinished retraining in runs"):
        plan_retraining("mobilenet-v2-tiny", resume=True)


def test_plan_search_takes_flags_then_the_file_then_task_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    declared = (SearchSettings, SupernetConfig)
    file = Overrides.read({"recipe": {"epochs": 5, "lr": 0.2}, "trials": 7, "sampler": "tpe"}, *declared)
    flags = Overrides.read({"lr": 0.3, "sampler": "random"}, *declared)
    plan = plan_search(None, task="detect", overrides=file | flags)
    assert (plan.config.recipe.lr, plan.config.recipe.epochs) == (0.3, 5)
    assert (plan.settings.sampler, plan.settings.trials, plan.settings.workers) == ("random", 7, 1)
    assert (plan.config.num_random_subnets, plan.config.recipe.batch_size) == (1, 32)
