import json
from dataclasses import replace

import pytest
import torch
import yaml

from helpers import RECIPE, Quiet
from tinynas import Budget, cost, load, load_arch, load_space
from tinynas.data.memory import MemorySplit
from tinynas.deploy.ethos_u import EthosU
from tinynas.experiment.compare import compare_runs
from tinynas.experiment.config import NetAug, RetrainConfig
from tinynas.experiment.plans import RetrainPlan
from tinynas.experiment.run_folder import RunFolder
from tinynas.pipelines.retrain import retrain
from tinynas.pipelines.search import search, train_supernet
from tinynas.tasks.registry import TASKS
from tinynas.utils.errors import BudgetError, FileError, InputError, TrainingError
from tinynas.utils.io import json_digest


def test_search_retrain_and_compare_agree_on_one_run(watched, plan):
    front = search(plan, report=Quiet()).to_dict()
    assert not watched.test.looked, "the search looked at test images"
    written = json.loads((plan.run / "front.json").read_text())
    assert written.pop("sha256") == json_digest(written)
    assert written == front
    assert front["limits"] == {"macs": 60_000}
    assert all(entry["macs"] <= 60_000 for entry in front["front"])
    best = load_arch(plan.run / "best.yaml")
    assert best.to_dict() == front["front"][front["best"]]["arch"]
    winner = front["front"][front["best"]]
    assert winner["accuracy"] == max(entry["accuracy"] for entry in front["front"])
    share = winner["accuracy"] / 100
    assert winner["standard_error"] == pytest.approx(100 * (share * (1 - share) / len(watched.val.labels)) ** 0.5)
    chance = {"images": 30, "classes": 3, "largest_class": "a", "largest_class_images": 10}
    assert front["chance"] == {"accuracy": 100 / 3, "random_accuracy": 100 / 3, **chance}
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
        metrics = retrain(retraining, report=Quiet()).to_dict()
        looks = "the final model's accuracy, its errors, the pictures of its mistakes"
        assert len(watched.test.looked) == 3, looks
        assert metrics == json.loads((folder / "metrics.json").read_text())
        assert metrics["macs"] == cost(best).macs
        assert metrics["netaug"] == netaug
        net = load(folder / "model.safetensors")
        assert net.arch == best
        assert TASKS["classify"].accuracy(net, best, watched, watched.test) == metrics["accuracy"]
        assert len((folder / "log.jsonl").read_text().splitlines()) == RECIPE.epochs

    comparison = compare_runs([plan.run], plan.run / "compare.png").to_dict()
    assert [s["name"] for s in comparison["series"]] == ["searched", "retrained", "retrained + NetAug"]
    assert [(s["data"], s["split"]) for s in comparison["series"]] == [
        ("digits", "search-val"),
        ("digits", "test"),
        ("digits", "test"),
    ]
    assert (plan.run / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_search_limits_the_memory_of_engines_that_work_in_place(searched, plan):
    smallest = cost(replace(load_space(plan.config.space), in_channels=1, classes=3).min())
    limit = 2 * smallest.peak_sram_inplace_dw
    front = search(replace(plan, budget=Budget(peak_sram_inplace_dw=limit)), report=Quiet()).to_dict()
    assert front["limits"] == {"peak_sram_inplace_dw": limit}
    assert all(entry["peak_sram_inplace_dw"] <= limit for entry in front["front"])
    assert cost(load_space(plan.config.space).max()).peak_sram_inplace_dw > limit


def test_search_again_keeps_the_trained_supernet(searched, plan):
    weights = (plan.run / "supernet.pt").read_bytes()
    first = (plan.run / "front.json").read_bytes()
    tighter = replace(plan, budget=Budget(macs=40_000, peak_sram=2_000))
    front = search(tighter, report=Quiet()).to_dict()
    assert (plan.run / "supernet.pt").read_bytes() == weights
    assert all(entry["macs"] <= 40_000 and entry["peak_sram"] <= 2_000 for entry in front["front"])
    assert (plan.run / "earlier" / "macs-60000" / "front.json").read_bytes() == first


def test_search_puts_a_damaged_front_aside(searched, plan):
    (plan.run / "front.json").write_text('{"front": [')
    with pytest.raises(FileError, match=r"front\.json is damaged"):
        compare_runs([plan.run], plan.run / "compare.png")
    search(plan, report=Quiet())
    assert compare_runs([plan.run], plan.run / "compare.png").series
    assert (plan.run / "damaged" / "front.json").read_text() == '{"front": ['


@pytest.mark.parametrize(
    ("content", "problem"),
    [("stages: [", "space.yaml, line 1 is not valid YAML: .*"), ("stages: 3", ".*"), ("", ".*"), ("a: 1", ".*")],
)
def test_search_names_a_damaged_space_and_writes_it_again(searched, plan, content, problem):
    path = plan.run / "space.yaml"
    intact = path.read_text()
    path.write_text(content)
    advice = rf"restore it, or delete it and `tinynas search --run {plan.run} --resume` writes it again"
    with pytest.raises(FileError, match=rf"^{path} is damaged: {problem}; {advice}$"):
        search(plan, report=Quiet())
    path.unlink()
    search(plan, report=Quiet())
    assert path.read_text() == intact


@pytest.mark.parametrize("content", ["{", "[]", "\n"])
def test_search_goes_on_without_a_damaged_identity_of_its_data(searched, plan, content):
    path = plan.run / "data.json"
    path.write_text(content)
    advice = "restore it, or delete it to go on with the data set as it is now"
    with pytest.raises(FileError, match=rf"^{path} is damaged: .*; {advice}$"):
        search(plan, report=Quiet())
    path.unlink()
    search(plan, report=Quiet())
    assert json.loads(path.read_text())["classes"] == ["a", "b", "c"]


def test_search_refuses_a_budget_that_nothing_fits_before_training(watched, plan, monkeypatch):
    monkeypatch.setattr("tinynas.pipelines.search.train", lambda *args, **kwargs: pytest.fail("it trained"))
    with pytest.raises(BudgetError, match=f"no network of {plan.config.space} fits"):
        search(replace(plan, budget=Budget(macs=10)), report=Quiet())
    assert not plan.run.exists()


def test_search_that_the_kernels_cannot_train_writes_nothing(watched, plan):
    recipe = replace(RECIPE, backend="fused", precision="bf16")
    with pytest.raises(InputError, match="--backend fused: the kernels compute in fp32, not in bf16; choose"):
        search(replace(plan, config=replace(plan.config, recipe=recipe)), report=Quiet())
    assert not plan.run.exists()


def test_search_refuses_a_run_of_another_configuration(searched, plan):
    other = replace(plan, config=replace(plan.config, recipe=replace(RECIPE, lr=0.07)))
    with pytest.raises(FileError, match=r"has another configuration: recipe\.lr is 0\.05 there, 0\.07 here"):
        search(other, report=Quiet())


def test_search_gives_equal_fronts_twice(searched, plan, tmp_path):
    again = search(replace(plan, run=tmp_path / "again"), report=Quiet())
    assert again == RunFolder(searched).read_front()


def test_search_trains_a_supernet_that_begins_largest_and_shrinks(watched, plan):
    config = replace(
        plan.config,
        num_random_subnets=1,
        largest_warmup_epochs=1,
        progressive_shrinking=True,
        recipe=replace(RECIPE, epochs=5, max_grad_norm=1.0),
    )
    assert search(replace(plan, config=config), report=Quiet()).evaluations == 12


@pytest.mark.parametrize("batch_size", [60, 32])
def test_search_of_a_supernet_that_diverged_is_an_error(watched, plan, batch_size):
    """In 2 and 6 steps, too few to skip ten in a row."""
    recipe = replace(RECIPE, lr=1e30, epochs=2, batch_size=batch_size, warmup_epochs=0.0, max_grad_norm=0.0)
    plan = replace(plan, config=replace(plan.config, recipe=recipe))
    with pytest.raises(TrainingError, match=r"the training diverged: .* a --lr below 1e\+30 or"):
        search(plan, report=Quiet())
    for name in ("front.json", "best.yaml"):
        assert not (plan.run / name).exists()


def test_supernet_with_class_weights_has_other_weights(data, plan, tmp_path, monkeypatch):
    labels = data.train.labels
    kept = (labels > 0) | (torch.arange(len(labels)) % 9 > 0)
    uneven = replace(data, train=MemorySplit(images=data.train.images[kept], labels=labels[kept]))
    monkeypatch.setattr("tinynas.pipelines.search.load_data", lambda name, **settings: uneven)
    stems = []
    for choice in ("none", "balanced"):
        config = replace(plan.config, recipe=replace(RECIPE, epochs=1, class_weights=choice))
        supernet, _ = train_supernet(replace(plan, run=tmp_path / choice, config=config), report=Quiet())
        stems.append(supernet.net.stem.conv.weight)
    assert not torch.equal(*stems)


@pytest.mark.slow
def test_search_for_an_ethos_u_keeps_velas_limits(watched, plan):
    pytest.importorskip("ethosu.vela", reason="the extra ethos is not installed")
    budget = Budget(latency=1.2e-5, peak_sram_vela=2500)
    settings = replace(plan.settings, target="ethos-u55-128", trials=6)
    report = Quiet()
    front = search(replace(plan, budget=budget, settings=settings), report=report).front
    source = EthosU("ethos-u55-128", sram=2500)
    for entry in front:
        assert source.measure(entry.arch).items() <= entry.cost.to_dict().items()
        assert budget.fits(entry.cost)
    assert source.compiled == 0
    assert any(note.startswith("estimated by Vela ") for note in report.notes)


def test_raced_search_drops_networks_and_reports_the_same_accuracies(watched, plan, tmp_path, monkeypatch):
    """With one standard error instead of three, as search-val has 30 images."""
    monkeypatch.setattr("tinynas.study.racing._STANDARD_ERRORS", 1.0)
    settings = replace(plan.settings, sampler="random", trials=20)
    plain = replace(plan, settings=replace(settings, storage=str(tmp_path / "plain")))
    raced = replace(plan, settings=replace(settings, race=True, storage=str(tmp_path / "raced")))
    front, report = search(plain, report=Quiet()), Quiet()
    raced_front = search(raced, report=report)
    (note,) = [note for note in report.notes if "dropped" in note]
    dropped = 20 - raced_front.evaluations
    assert note == f"search: {dropped} of 20 networks were dropped after a part of search-val"
    assert 0 < dropped < 20
    accuracies = {entry.arch: entry.accuracy for entry in front.front}
    in_both = [entry for entry in raced_front.front if entry.arch in accuracies]
    assert in_both
    assert all(entry.accuracy == accuracies[entry.arch] for entry in in_both)
    assert yaml.safe_load((plan.run / "search.yaml").read_text())["race"] is True
