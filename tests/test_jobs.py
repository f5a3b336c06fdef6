import json
from dataclasses import replace

import pytest
import torch
from conftest import RECIPE, Quiet

from tinynas import Budget, cost, load, load_arch, load_space
from tinynas.experiment.compare import compare_runs
from tinynas.experiment.config import NetAug, RetrainConfig, RetrainPlan, SupernetConfig
from tinynas.models.supernet import Supernet
from tinynas.pipelines import evaluate as evaluate_module
from tinynas.pipelines.retrain import retrain
from tinynas.pipelines.search import search
from tinynas.study.evaluator import SubnetEvaluator
from tinynas.tasks.registry import TASKS
from tinynas.training.recipe import Recipe
from tinynas.utils.errors import BudgetError, FileError, InputError


def test_the_whole_job(watched, plan):
    front = search(plan, report=Quiet())
    assert not watched.test.looked, "the search looked at test images"
    assert json.loads((plan.run / "front.json").read_text()) == front
    assert front["limits"] == {"macs": 60_000}
    assert all(entry["macs"] <= 60_000 for entry in front["front"])
    best = load_arch(plan.run / "best.yaml")
    assert best.to_dict() == front["front"][front["best"]]["arch"]
    winner = front["front"][front["best"]]
    assert winner["accuracy"] == max(entry["accuracy"] for entry in front["front"])
    share = winner["accuracy"] / 100
    assert winner["standard_error"] == pytest.approx(100 * (share * (1 - share) / len(watched.val.labels)) ** 0.5)
    headline = (plan.run / "best.yaml").read_text().splitlines()[:2]
    assert headline[0].startswith("# The best of 12 networks")
    assert f"macs {winner['macs']}" in headline[1]

    for netaug in (False, True):
        folder = plan.run / "retrain" / str(netaug)
        retraining = RetrainPlan(
            folder=folder, arch=best, config=RetrainConfig(netaug=NetAug() if netaug else None, recipe=RECIPE)
        )
        watched.test.looked.clear()
        vars(watched.test)["not_before"] = folder / "model.safetensors"
        metrics = retrain(retraining, report=Quiet())
        assert len(watched.test.looked) == 1, "test images are looked at once, at the end"
        assert metrics == json.loads((folder / "metrics.json").read_text())
        assert metrics["macs"] == cost(best).macs
        assert metrics["netaug"] == netaug
        net = load(folder / "model.safetensors")
        assert net.arch == best
        assert TASKS["classify"].accuracy(net, best, watched, watched.test) == metrics["accuracy"]
        assert len((folder / "log.jsonl").read_text().splitlines()) == RECIPE.epochs

    comparison = compare_runs([plan.run], plan.run / "compare.png")
    assert [s["name"] for s in comparison["series"]] == ["searched", "retrained", "retrained + NetAug"]
    assert [(s["data"], s["split"]) for s in comparison["series"]] == [
        ("digits", "search-val"),
        ("digits", "test"),
        ("digits", "test"),
    ]
    assert (plan.run / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_memory_can_be_limited_as_engines_that_work_in_place_need_it(watched, plan):
    smallest = cost(replace(load_space(plan.config.space), in_channels=1, classes=3).min())
    limit = 2 * smallest.peak_sram_inplace_dw
    front = search(replace(plan, budget=Budget(peak_sram_inplace_dw=limit)), report=Quiet())
    assert front["limits"] == {"peak_sram_inplace_dw": limit}
    assert all(entry["peak_sram_inplace_dw"] <= limit for entry in front["front"])
    assert cost(load_space(plan.config.space).max()).peak_sram_inplace_dw > limit


def test_train_once_search_often(watched, plan, monkeypatch):
    search(plan, report=Quiet())
    weights = (plan.run / "supernet.pt").read_bytes()
    first = (plan.run / "front.json").read_bytes()
    tighter = replace(plan, budget=Budget(macs=40_000, peak_sram=2_000))
    front = search(tighter, report=Quiet())
    assert (plan.run / "supernet.pt").read_bytes() == weights
    assert all(entry["macs"] <= 40_000 and entry["peak_sram"] <= 2_000 for entry in front["front"])
    assert (plan.run / "earlier" / "macs-60000" / "front.json").read_bytes() == first


def test_a_damaged_front_is_put_aside_by_the_next_search(watched, plan):
    search(plan, report=Quiet())
    (plan.run / "front.json").write_text('{"front": [')
    with pytest.raises(FileError, match=r"front\.json is damaged"):
        compare_runs([plan.run], plan.run / "compare.png")
    search(plan, report=Quiet())
    assert compare_runs([plan.run], plan.run / "compare.png")["series"]
    assert (plan.run / "damaged" / "front.json").read_text() == '{"front": ['


def test_a_budget_that_nothing_fits_is_told_before_anything_is_done(watched, plan, monkeypatch):
    monkeypatch.setattr("tinynas.pipelines.search.train", lambda *args, **kwargs: pytest.fail("it trained"))
    with pytest.raises(BudgetError, match="no network of the space fits"):
        search(replace(plan, budget=Budget(macs=10)), report=Quiet())
    assert not plan.run.exists()


def test_a_run_of_another_configuration_is_left_alone(watched, plan):
    search(plan, report=Quiet())
    other = replace(plan, config=replace(plan.config, recipe=replace(RECIPE, lr=0.07)))
    with pytest.raises(FileError, match=r"is of another configuration: recipe\.lr is 0\.05 there, 0\.07 here"):
        search(other, report=Quiet())


def test_two_equal_searches_give_equal_fronts(watched, plan, tmp_path):
    fronts = [search(replace(plan, run=tmp_path / name), report=Quiet()) for name in ("one", "other")]
    assert fronts[0] == fronts[1]


def test_evaluating_changes_nothing_and_repeats(data, space):
    torch.manual_seed(0)
    supernet = Supernet(space).train()
    supernet(torch.randn(8, 1, 12, 12), space.max())
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    evaluate = SubnetEvaluator(supernet, data)
    arch = space.min()
    assert evaluate(arch) == evaluate(arch) == SubnetEvaluator(supernet, data)(arch)
    assert all(torch.equal(before[name], tensor) for name, tensor in supernet.state_dict().items())


def test_a_retrained_network_takes_classes_and_colours_from_the_data(watched, tmp_path):
    arch = replace(load_arch("mcunet-in3"), resolution=32)
    config = RetrainConfig(recipe=Recipe(epochs=1, batch_size=96))
    retrain(RetrainPlan(folder=tmp_path / "r", arch=arch, config=config), report=Quiet())
    net = load(tmp_path / "r" / "model.safetensors")
    assert (net.arch.classes, net.arch.in_channels) == (3, 1)


def test_netaug_delivers_a_file_like_a_plain_one(watched, space, tmp_path):
    shapes = []
    for netaug in (False, True):
        config = RetrainConfig(netaug=NetAug() if netaug else None, recipe=Recipe(epochs=1, batch_size=48))
        retrain(RetrainPlan(folder=tmp_path / str(netaug), arch=space.min(), config=config), report=Quiet())
        state = load(tmp_path / str(netaug) / "model.safetensors").state_dict()
        shapes.append({name: tensor.shape for name, tensor in state.items()})
    sizes = {(tmp_path / str(netaug) / "model.safetensors").stat().st_size for netaug in (False, True)}
    assert shapes[0] == shapes[1]
    assert len(sizes) == 1


def test_shrinking_frees_one_kind_of_choice_after_the_other():
    config = SupernetConfig(progressive_shrinking=True, largest_warmup_epochs=2, recipe=Recipe(epochs=10))
    assert [len(config.fixed_choices(epoch)) for epoch in range(2, 10)] == [3, 3, 2, 2, 1, 1, 0, 0]
    assert config.fixed_choices(2) == ("depth", "expand", "width")
    assert SupernetConfig(recipe=Recipe(epochs=3)).fixed_choices(0) == ()
    with pytest.raises(InputError, match="0 <= largest_warmup_epochs < epochs"):
        SupernetConfig(largest_warmup_epochs=3, recipe=Recipe(epochs=3))


def test_a_supernet_can_begin_with_its_largest_network_and_shrink(watched, plan):
    config = replace(
        plan.config,
        num_random_subnets=1,
        largest_warmup_epochs=1,
        progressive_shrinking=True,
        recipe=replace(RECIPE, epochs=5, max_grad_norm=1.0),
    )
    assert search(replace(plan, config=config), report=Quiet())["evaluations"] == 12


def test_widths_are_augmented_in_the_first_half_only():
    wide, deep, none = (1.0, 1.8, 2.6), (1.0, 1.6, 2.2, 2.8), (1.0,)
    assert [NetAug().factors(part / 5) for part in range(5)] == [(wide, deep)] * 3 + [(none, none)] * 2
    netaug = NetAug(width_until=0.2, expand_until=0.8)
    assert [netaug.factors(part / 5)[1] for part in range(5)] == [deep] * 4 + [none]
    assert [netaug.factors(part / 5)[0] for part in range(5)] == [wide] + [none] * 4


def test_a_model_is_evaluated_on_data_of_its_classes(watched, space, tmp_path, monkeypatch):
    retrain(RetrainPlan(folder=tmp_path / "r", arch=space.min(), config=RetrainConfig(recipe=RECIPE)), report=Quiet())
    result = evaluate_module.evaluate(tmp_path / "r" / "model.safetensors", None)
    assert result["accuracy"] == json.loads((tmp_path / "r" / "metrics.json").read_text())["accuracy"]
    assert sum(result["by_class"].values()) / 3 == pytest.approx(result["accuracy"])
    monkeypatch.setattr("tinynas.pipelines.model_data.load_data", lambda name: replace(watched, classes=("a", "b")))
    with pytest.raises(InputError, match=r"knows 3 classes \(a, b, c\), but small has 2 classes \(a, b\)"):
        evaluate_module.evaluate(tmp_path / "r" / "model.safetensors", "small")
