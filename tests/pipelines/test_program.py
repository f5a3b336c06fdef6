"""tinynas in a Python program: on its own data, as the commands do it."""

import copy
import inspect
import json
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from functools import partial
from typing import get_type_hints

import numpy as np
import pytest
import torch
from PIL import Image

import tinynas
from helpers import DETECTORS, Interrupting
from pages import DOCS, blocks_of
from tinynas.data.registry import DATA_SETS
from tinynas.experiment.config import RetrainConfig, SupernetConfig
from tinynas.experiment.plans import ExportPlan
from tinynas.experiment.search_settings import SearchSettings
from tinynas.pipelines import keywords
from tinynas.training.recipe import Recipe
from tinynas.utils.errors import BudgetError, FileError, InputError
from tinynas.utils.settings import settings_of


def samples(count, seed):
    """Dark images (class 0) and bright ones (class 1), 16x16."""
    rng = np.random.default_rng(seed)
    pairs = []
    for number in range(count):
        pixels = rng.integers(0, 120, (16, 16)) + 130 * (number % 2)
        pairs.append((pixels.astype(np.uint8), number % 2))
    return pairs


@pytest.fixture(scope="module")
def data():
    return tinynas.Data(train=samples(80, 0), test=samples(40, 1), classes=("dark", "bright"), name="brightness")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("program")


@pytest.fixture(scope="module")
def run(folder, data):
    quick = {"epochs": 2, "batch_size": 16, "trials": 3}
    return tinynas.search(space="micro", data=data, flops="150K", run=folder / "run", seed=1, **quick)


@pytest.fixture(scope="module")
def model(run, data):
    return tinynas.retrain(run, data=data, netaug=True, epochs=6, batch_size=16, name="netaug")


def test_search_returns_the_front_that_it_writes(run, folder):
    plain = json.loads((folder / "run" / "front.json").read_text())
    assert run.folder == folder / "run"
    assert plain["data"] == "brightness"
    assert [entry.to_dict() for entry in run.front] == plain["front"]
    assert run.best.cost.macs <= 150_000
    assert tinynas.open_run(str(run.folder)).best == run.best
    (axes,) = run.plot().axes
    assert axes.get_title() == "micro on brightness: subnets on search-val"


def test_retrain_returns_a_model_that_predicts(run, model, data):
    assert model.path == run.folder / "retrain" / "netaug" / "model.safetensors"
    assert model.metrics.accuracy > 90
    assert model.metrics.netaug
    assert model.cost == run.best.cost
    assert model.evaluate(data).accuracy == pytest.approx(model.metrics.accuracy)
    assert [other.path for other in run.models()] == [model.path]
    predictions = model.predict([image for image, _ in samples(10, 2)])
    assert [prediction.index for prediction in predictions] == [0, 1] * 5
    assert predictions[1].name == "bright"
    assert predictions[1].probabilities.sum().item() == pytest.approx(1)


def test_model_predicts_files_arrays_and_tensors_alike(model, tmp_path):
    (_, (pixels, _)) = samples(2, 3)
    Image.fromarray(pixels).save(tmp_path / "bright.png")
    alike = [
        tmp_path / "bright.png",
        str(tmp_path / "bright.png"),
        Image.fromarray(pixels),
        pixels,
        pixels / np.float32(255),
        torch.from_numpy(pixels)[None],
    ]
    first, *others = model.predict(alike)
    for other in others:
        assert torch.equal(other.probabilities, first.probabilities)
    for alone in (alike[0], *alike[2:]):
        (of_one,) = model.predict(alone)
        assert torch.equal(of_one.probabilities, first.probabilities)
    with pytest.raises(InputError, match=r"images is of the type int; expected a tensor \(N, C, H, W\), or a list"):
        model.predict(3)
    (of_batch,) = model.predict(torch.from_numpy(pixels)[None, None])
    assert torch.equal(of_batch.probabilities, first.probabilities)
    with pytest.raises(InputError, match=r"images\[1\] has 3 channels, the network takes 1"):
        model.predict([pixels, np.zeros((16, 16, 3), np.uint8)])


@pytest.fixture
def images(model):
    size = model.module.arch.resolution
    return torch.rand(4, 1, size, size, generator=torch.Generator().manual_seed(0))


def test_module_is_that_of_the_file_and_can_be_saved(model, images, tmp_path):
    outputs = tinynas.load(model.path)(images)
    assert not model.module.training
    assert torch.equal(model.module(images), outputs)
    torch.save(model.module, tmp_path / "module.pt")
    assert torch.equal(torch.load(tmp_path / "module.pt", weights_only=False)(images), outputs)
    torch.save(model.module.state_dict(), tmp_path / "weights.pt")
    rebuilt = tinynas.build(model.module.arch).eval()
    rebuilt.load_state_dict(torch.load(tmp_path / "weights.pt"))
    assert torch.equal(rebuilt(images), outputs)


def test_prepared_images_are_what_predictions_are_made_of(model):
    images = [image for image, _ in samples(3, 4)]
    with torch.no_grad():
        probabilities = model.module(model.prepare(images)).softmax(1)
    for prediction, expected in zip(model.predict(images), probabilities, strict=True):
        assert torch.allclose(prediction.probabilities, expected, atol=1e-6)
    with pytest.raises(InputError, match="there are no images; pass one or more"):
        model.prepare([])


def test_module_can_be_exported_with_any_number_of_images(model, images):
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(model.module, (images,), dynamic_shapes=((batch,) + (None,) * 3,)).module()
    for count in (1, 3, 4):
        assert torch.allclose(exported(images[:count]), model.module(images[:count]), atol=1e-5)


COMPILERS = ["eager", pytest.param("inductor", marks=pytest.mark.slow)]


@pytest.mark.parametrize("backend", COMPILERS)
def test_module_can_be_compiled(model, images, backend):
    if backend == "inductor" and not shutil.which("g++"):
        pytest.skip("needs a C++ compiler")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, which imports what it deprecates
        compiled = torch.compile(copy.deepcopy(model.module), backend=backend, fullgraph=True)
        with torch.no_grad():
            assert torch.allclose(compiled(images), model.module(images), atol=1e-5)


def test_module_can_be_trained_further(model, data):
    loaded, arch = data.load(), model.module.arch
    network = copy.deepcopy(model.module).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    losses = []
    for epoch in range(6):
        for batch in loaded.training_batches(24, (arch.resolution,), seed=0, epoch=epoch, augmentation="none"):
            loss = torch.nn.functional.cross_entropy(network(batch.images), 1 - batch.labels)  # the other way round
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert losses[-1] < losses[0] / 2


def test_model_exports_and_is_opened_again(model, data, tmp_path):
    report = model.export("onnx", out=tmp_path / "files", data=data, int8=False)
    assert (tmp_path / "files" / "model.onnx").exists()
    assert [file.file for file in report.files] == ["model.safetensors", "model.onnx"]
    again = tinynas.open_model(model.path.parent)
    assert (again.path, again.classes, again.cost) == (model.path, model.classes, model.cost)


def test_retrain_trains_a_model_further(model, data, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    further = tinynas.retrain(source=model, data=data, epochs=1, batch_size=16)
    assert further.metrics.init == str(model.path)
    assert further.module.arch == model.module.arch


def test_interrupted_search_and_retraining_resume(data, folder, run):
    quick = {"epochs": 2, "batch_size": 16, "trials": 3, "seed": 1}
    with pytest.raises(KeyboardInterrupt):
        tinynas.search(
            space="micro", data=data, flops="150K", run=folder / "broken", progress=Interrupting(after=5), **quick
        )
    resumed = tinynas.search(run=folder / "broken", data=data, resume=True)
    assert resumed.front == run.front
    trained = tinynas.retrain(run, data=data, epochs=2, batch_size=16, name="whole")
    with pytest.raises(KeyboardInterrupt):
        tinynas.retrain(run, data=data, epochs=2, batch_size=16, name="broken", progress=Interrupting(after=5))
    again = tinynas.retrain(run, data=data, name="broken", resume=True)
    assert again.metrics.accuracy == trained.metrics.accuracy
    for one, other in zip(again.module.parameters(), trained.module.parameters(), strict=True):
        assert torch.equal(one, other)


def test_misspelt_settings_and_limits_that_nothing_fits_are_errors(data, run, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"unknown key in search\(\) 'epochz'; did you mean 'epochs'"):
        tinynas.search(data=data, epochz=3)
    with pytest.raises(InputError, match=r"unknown key in retrain\(\) 'netug'; did you mean 'netaug'"):
        tinynas.retrain(run, netug=True)
    with pytest.raises(InputError, match=r"unknown key in export\(\) 'quantised'"):
        model.export("onnx", quantised=True)
    with pytest.raises(InputError, match=r"^`device` cuda:7: .*; choose another, or leave it out"):
        tinynas.retrain(run, device="cuda:7")
    with pytest.raises(FileError, match=r"nothing to resume .*; search without `resume=True`"):
        tinynas.search(run=tmp_path / "none", resume=True)
    with pytest.raises(InputError, match=r"but int8 is off; leave out `int8=False`, or export to tflite"):
        model.export("firmware", int8=False)
    with pytest.raises(InputError, match=r"a range of MACs is for `pareto`; add it, or limit `flops`"):
        tinynas.search(space="micro", data=data, flops="1M:2M")
    with pytest.raises(InputError, match=r"data is of the type list; pass the name of a data set, or a tinynas\.Data"):
        tinynas.search(space="micro", data=samples(4, 0))
    with pytest.raises(BudgetError, match="no network of micro fits"):
        tinynas.search(space="micro", data=data, flops=10)
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "front.json").touch()
    (tmp_path / "nearer").mkdir()
    with pytest.raises(FileError, match=r"^there is no run folder nowhere; beside it: near$"):
        tinynas.open_run("nowhere")
    with pytest.raises(FileError, match=r"^there is no run folder nea; did you mean near\?$"):
        tinynas.open_run("nea")
    (tmp_path / "near" / "front.json").unlink()
    with pytest.raises(FileError, match=r"^near has no front\.json; `tinynas search --run near` writes it$"):
        tinynas.open_run("near")


NEAR = {"flop": "flops", "cost": "costs", "limit": "limits", "dat": "data", "devic": "device", "evalute": "evaluate"}


@pytest.mark.parametrize(("written", "meant"), NEAR.items())
def test_misspelt_argument_that_is_no_setting_is_an_error_that_names_it(written, meant):
    with pytest.raises(InputError, match=rf"^unknown key in search\(\) '{written}'; did you mean '{meant}'\?$"):
        tinynas.search(**{written: "x"})


def test_arguments_that_a_call_lacks_or_does_not_know_are_errors_that_name_them(run, model):
    samples_of = {"train": samples(4, 0), "classes": ["a", "b"]}
    with pytest.raises(InputError, match=r"^unknown key in Data\(\) 'trian'; did you mean 'train'\?$"):
        tinynas.Data(trian=samples(4, 0), test=samples(4, 0), classes=["a", "b"])
    with pytest.raises(InputError, match=r"^Data\(\): missing a required (keyword-only )?argument: 'test'"):
        tinynas.Data(**samples_of)
    with pytest.raises(InputError, match=r"^unknown key in retrain_front\(\) 'fornt'; did you mean 'front'\?$"):
        tinynas.retrain_front(run, epochs=1, fornt=2)
    with pytest.raises(InputError, match=r"^retrain_front\(\): missing a required (keyword-only )?argument: 'front'"):
        tinynas.retrain_front(run, epochs=1)
    with pytest.raises(InputError, match=r"^search\(\): too many positional arguments"):
        tinynas.search("micro")
    with pytest.raises(InputError, match=r"^unknown key in evaluate\(\) 'dat'; did you mean 'data'\?$"):
        model.evaluate(dat="digits")


def test_a_run_that_is_a_file_is_refused(data, tmp_path):
    (tmp_path / "late.py").touch()
    with pytest.raises(FileError, match=r"late\.py is a file, but a folder is needed there; choose another folder$"):
        tinynas.search(space="micro", data=data, run=tmp_path / "late.py", epochs=1, trials=1)


def test_numbers_of_numpy_are_settings_and_limits(data, tmp_path):
    quick = {"epochs": np.int64(1), "batch_size": np.int32(16), "trials": np.int64(2), "lr": np.float32(0.05)}
    limits = {"flops": np.float64(150_000), "params": np.int64(20_000)}
    run = tinynas.search(space="micro", data=data, run=tmp_path / "run", **quick, **limits)
    assert run.result.budget.limits() == {"macs": 150_000, "params": 20_000}
    model = tinynas.retrain(run, data=data, epochs=np.int64(1), netaug=True, width=np.array([1.0, 2.0]))
    assert model.metrics.netaug


@pytest.mark.parametrize("pareto", ["", (), []], ids=repr)
def test_front_of_no_cost_is_an_error(data, pareto):
    with pytest.raises(InputError, match=r"^pareto names no cost; name one or two, like pareto='sram,macs', or leave"):
        tinynas.search(space="micro", data=data, pareto=pareto)


def test_resumed_search_says_that_its_limits_are_others(run, data, folder, capsys):
    shutil.copytree(run.folder, folder / "copy")
    limits = "limits: macs <= 140K; those of the search to resume were macs <= 150K"
    for flops, is_said in (("140K", True), (None, False), ("140K", False)):
        tinynas.search(run=folder / "copy", data=data, resume=True, flops=flops, progress=True)
        assert (limits in capsys.readouterr().out) == is_said


@pytest.mark.parametrize("name", ["a/../../z", "../x", "", " ", "a:b", "digits", "."])
def test_name_that_is_no_folder_or_a_shipped_data_sets_is_refused(data, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^name "):
        tinynas.search(space="micro", data=replace(data, name=name), flops="150K")
    assert not list(tmp_path.iterdir())


def test_a_data_set_that_has_changed_is_noticed(run):
    other = tinynas.Data(train=samples(80, 7), test=samples(40, 1), classes=("dark", "bright"), name="brightness")
    with pytest.raises(FileError, match="the data set brightness has changed since"):
        tinynas.retrain(run, data=other, epochs=1)


def test_a_data_set_that_another_program_has_is_asked_for(run, model, monkeypatch, tmp_path):
    """In a process that has not seen it; one that the user named is unknown."""
    monkeypatch.delitem(DATA_SETS, "brightness")
    for call, where in (
        (lambda: tinynas.search(run=run.folder, resume=True), run.folder),
        (lambda: tinynas.retrain(run), run.folder),
        (lambda: tinynas.retrain(source=model), model.path),
        (model.evaluate, model.path),
    ):
        with pytest.raises(InputError) as error:
            call()
        assert str(error.value) == (
            f"{where} was made by a Python program with a data set of its own, 'brightness', which exists only there; "
            "pass it again in Python, as data=..."
        )
    for call in (partial(tinynas.retrain, run, data="bright"), partial(tinynas.search, data="bright", run=tmp_path)):
        with pytest.raises(InputError, match="unknown data set 'bright'; known: cars"):
            call()


def test_keywords_are_the_settings():
    """Each with its type, but those that the functions have as arguments of their own."""
    own = {"space", "data", "evaluate", "to"}
    for hints, configs in (
        (keywords.TrainingKeywords, (Recipe,)),
        (keywords.SearchKeywords, (SearchSettings, SupernetConfig)),
        (keywords.RetrainKeywords, (RetrainConfig,)),
        (keywords.ExportKeywords, (ExportPlan,)),
    ):
        expected = set()
        for config in configs:
            expected |= {setting.name for setting in settings_of(config) if setting.flag} - own
        named = set(get_type_hints(hints))
        assert named - {"skip_unreadable"} == expected - {"skip_unreadable"}


def test_functions_have_typed_keywords():
    for function in (tinynas.search, tinynas.retrain, tinynas.TrainedModel.export):
        (settings,) = [p for p in inspect.signature(function).parameters.values() if p.kind == p.VAR_KEYWORD]
        assert "Keywords" in str(settings.annotation)


@pytest.mark.slow
def test_program_of_the_docs_passes_mypy_strict(tmp_path):
    text = "\n".join(block.text for block in blocks_of(DOCS / "python.md", "python"))
    (tmp_path / "good.py").write_text(text)
    (tmp_path / "bad.py").write_text(text.replace("trials=8", "trialz=8"))
    results = {}
    for name in ("good", "bad"):
        command = [sys.executable, "-m", "mypy", "--strict", "--ignore-missing-imports", str(tmp_path / f"{name}.py")]
        results[name] = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert results["good"].returncode == 0, results["good"].stdout
    assert 'Unexpected keyword argument "trialz"' in results["bad"].stdout


def bright_squares(count, seed):
    """Dark images, each with a bright square whose box is known."""
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(count):
        image = rng.integers(0, 60, (64, 64), dtype=np.uint8)
        x, y = rng.integers(0, 36, 2).tolist()
        image[y : y + 24, x : x + 24] = 230
        samples.append((image, {"boxes": [[x, y, x + 24, y + 24]], "labels": [0]}))
    return samples


def test_detector_of_a_programs_own_boxes(tmp_path):
    data = tinynas.Data(
        train=bright_squares(160, 0), test=bright_squares(16, 1), classes=("square",), task="detect", name="squares"
    )
    (tmp_path / "space.yaml").write_text(json.dumps(DETECTORS))
    run = tinynas.search(space=tmp_path / "space.yaml", data=data, run=tmp_path / "run", epochs=1, trials=1)
    model = tinynas.retrain(run, data=data, epochs=12, batch_size=16, name="detector")
    assert model.metrics.ap50 > 10
    inside = 0
    for image, target in bright_squares(20, 5):
        (boxes,) = model.detect([image], threshold=0.05)
        left, top, right, bottom = boxes[0].box
        x1, y1, x2, y2 = target["boxes"][0]
        inside += x1 < (left + right) / 2 < x2 and y1 < (top + bottom) / 2 < y2
        assert boxes[0].name == "square"
        assert 0 < boxes[0].score < 1
    assert inside >= 15
    with pytest.raises(InputError, match="the model is a detector; call `detect`"):
        model.predict([image])


def test_progress_is_shown_as_by_the_commands_if_asked_for(run, data, capsys):
    quick = {"data": data, "epochs": 1, "batch_size": 16}
    tinynas.retrain(run, name="quiet", **quick)
    assert capsys.readouterr() == ("", "")
    tinynas.retrain(run, name="shown", progress=True, **quick)
    out, err = capsys.readouterr()
    assert out.startswith("data: brightness: 2 classes; images: 72 train, 8 search-val, 40 test\n")
    assert "shown 4/4: epoch 1/1, loss" in out
    assert not err
    with pytest.raises(InputError, match=r"progress is of the type str; pass True, False, or an object with the meth"):
        tinynas.retrain(run, progress="yes", **quick)


def test_search_space_and_network_may_be_objects(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = replace(tinynas.load_space("micro"), resolution=(20,))
    quick = {"epochs": 2, "batch_size": 16, "seed": 1}
    with pytest.raises(KeyboardInterrupt):
        tinynas.search(space=space, data=data, trials=2, progress=Interrupting(after=3), **quick)
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.endswith("-custom-brightness")
    with pytest.raises(FileError, match="has another search space; leave out the space, or choose another `run`"):
        tinynas.search(run=folder, space=replace(space, resolution=(24,)), data=data, resume=True)
    run = tinynas.search(run=folder, space=space, data=data, resume=True)
    assert run.result.space == "custom"
    assert tinynas.load_space(folder / "space.yaml") == space
    assert {entry.arch.resolution for entry in run.front} == {20}
    again = tinynas.search(run=folder, data=data, trials=3)
    assert {entry.arch.resolution for entry in again.front} == {20}
    arch = run.best.arch
    with pytest.raises(KeyboardInterrupt):
        tinynas.retrain(arch, data=data, name="broken", progress=Interrupting(after=5), **quick)
    model = tinynas.retrain(arch, data=data, name="broken", resume=True)
    assert model.module.arch == arch
    assert model.path.parent.parent.parent.name.endswith("-custom")
    whole = tinynas.retrain(arch, data=data, name="whole", **quick)
    for one, other in zip(model.module.parameters(), whole.module.parameters(), strict=True):
        assert torch.equal(one, other)


def test_retrain_takes_recipes(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = tinynas.load_space("micro").min()
    settings = {"arch": network.to_dict(), "recipe": {"epochs": 3, "lr": 0.01, "batch_size": 16}, "netaug": {}}
    (tmp_path / "short.yaml").write_text(json.dumps(settings))
    model = tinynas.retrain(recipe="short.yaml", data=data, epochs=2)
    assert (model.metrics.epochs, model.metrics.netaug) == (2, True)
    wider = tinynas.load_space("micro").max()
    assert tinynas.retrain(wider, recipe="short.yaml", data=data, epochs=1).module.arch.stem.out == wider.stem.out
    with pytest.raises(InputError, match=r"unknown recipe 'mbv2-tny'"):
        tinynas.retrain(recipe="mbv2-tny")


def margin(network, batches):
    """A user's objective: the mean difference of the right class's logit and the other one's, with a small network."""
    differences = []
    for _ in range(2):  # batches can be read again
        for images, labels in batches:
            assert not network.training
            assert images.shape[1:] == (1, network.arch.resolution, network.arch.resolution)
            outputs = network(images)
            assert not outputs.requires_grad
            right = outputs.gather(1, labels[:, None])[:, 0]
            differences.append(right - outputs.sum(1) + right)
    return torch.cat(differences).mean() / 1000


def test_search_with_an_objective_of_the_programs_own(run, data, tmp_path, capsys):
    quick = {"epochs": 1, "batch_size": 16, "seed": 1, "data": data}
    own = tinynas.search(space="micro", run=tmp_path / "own", evaluate=margin, trials=3, progress=True, **quick)
    assert own.result.metric == "margin"
    assert "best -0.0" in (out := capsys.readouterr().out) or "best 0.0" in out
    plain = json.loads((own.folder / "front.json").read_text())
    assert (plain["metric"], plain.get("chance")) == ("margin", None)
    assert all(entry["standard_error"] is None and abs(entry["accuracy"]) < 0.1 for entry in plain["front"])
    assert "%" not in repr(own)
    assert "% margin" not in (own.folder / "best.yaml").read_text()
    (axes,) = own.plot().axes
    assert axes.get_ylabel() == "margin"
    values = {entry.arch: entry.accuracy for entry in own.front}
    again = tinynas.search(run=own.folder, evaluate=margin, resume=True, trials=4, data=data)
    for entry in again.front:
        assert values.get(entry.arch, entry.accuracy) == entry.accuracy
    with pytest.raises(
        InputError, match=r"evaluated by the function margin of a program; resume .* with evaluate=margin"
    ):
        tinynas.search(run=own.folder, data=data, resume=True)
    as_usual = tinynas.search(run=own.folder, data=data, trials=3)
    assert as_usual.result.metric == "accuracy"
    assert as_usual.best.accuracy > 1, "another study than that of the objective"
    model = tinynas.retrain(own, data=data, epochs=1, batch_size=16)
    assert model.metrics.metric == "accuracy"


def test_commands_show_fronts_of_other_objectives_without_percent(data, tmp_path, capsys):
    from tinynas.cli.screen import Screen
    from tinynas.cli.tables.search import show_comparison, show_front

    from tinynas.experiment.compare import compare_runs

    quick = {"epochs": 1, "batch_size": 16, "data": data}
    own = tinynas.search(space="micro", run=tmp_path / "own", evaluate=margin, trials=2, **quick)
    show_front(Screen(), own.folder, own.result)
    title, header, *_ = capsys.readouterr().out.splitlines()
    assert title.startswith("Pareto front of micro on brightness")
    assert "search-val margin  " in header
    show_comparison(Screen(), compare_runs([own.folder], tmp_path / "plot.png"), tmp_path / "plot.png")
    assert "margin %" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"race": True}, "evaluated by the function margin of a program, but `race=True` compares images; remove"),
        ({"workers": 2}, "but `workers` are processes, which do not have it; remove `workers`"),
        ({"evaluate": "margin"}, "^evaluate is 'margin'; pass a function, or one of 'supernet', 'train'$"),
        (
            {"evaluate": lambda network, batches: 1.0},
            "evaluate is a lambda, which has no name for files; pass a function",
        ),
        ({"evaluate": partial(margin, top=2)}, "evaluate is a partial, which has no name for files; pass a function"),
    ],
)
def test_what_an_objective_of_the_programs_own_excludes(data, tmp_path, settings, message):
    arguments = {"space": "micro", "data": data, "run": tmp_path / "run", "evaluate": margin} | settings
    with pytest.raises(InputError, match=message):
        tinynas.search(**arguments)


def test_objective_that_has_the_name_of_a_metric_or_returns_no_number_is_an_error(data, tmp_path):
    def accuracy(network, batches):
        return 1.0

    with pytest.raises(
        InputError, match="evaluate is a function called accuracy, which is a metric of tinynas; rename"
    ):
        tinynas.search(space="micro", data=data, evaluate=accuracy)

    def nothing(network, batches):
        nothing.calls += 1
        return "0.9"

    nothing.calls = 0

    message = (
        r"^the function nothing of evaluate must return a number, but returned '0\.9' of the type str; correct it, "
        r"then continue with `resume=True`$"
    )
    with pytest.raises(InputError, match=message):
        tinynas.search(space="micro", data=data, run=tmp_path / "run", epochs=1, batch_size=16, evaluate=nothing)
    assert nothing.calls == 1


def halved(outputs, labels):
    """A user's loss."""
    halved.calls += 1
    return torch.nn.functional.cross_entropy(outputs, labels) / 2


def test_retrain_with_a_loss_of_the_programs_own(run, data):
    halved.calls = 0
    quick = {"epochs": 2, "batch_size": 16, "data": data}
    model = tinynas.retrain(run, name="own", loss=halved, netaug=True, **quick)
    assert model.metrics.loss == "halved"
    assert halved.calls > 2 * 4, "also of wider networks"
    plain = tinynas.retrain(run, name="no-smoothing", netaug=True, label_smoothing=0.0, lr=1e-9, warmup_lr=0.0, **quick)
    half = tinynas.retrain(run, name="half", netaug=True, loss=halved, lr=1e-9, warmup_lr=0.0, **quick)
    losses = []
    for trained in (plain, half):
        *_, last = (trained.path.parent / "log.jsonl").read_text().splitlines()
        losses.append(json.loads(last)["loss"])
    assert losses[1] == pytest.approx(losses[0] / 2, rel=1e-4)
    halved.calls = 0
    taught = tinynas.retrain(run, name="taught", loss=halved, teacher=model.path, **quick)
    assert halved.calls == 2 * 4
    assert (taught.metrics.loss, taught.metrics.teacher) == ("halved", str(model.path))


def test_loss_of_the_programs_own_is_needed_to_resume(run, data):
    quick = {"epochs": 2, "batch_size": 16, "data": data}
    with pytest.raises(KeyboardInterrupt):
        tinynas.retrain(run, name="broken-loss", loss=halved, progress=Interrupting(after=5), **quick)
    with pytest.raises(InputError, match=r"the loss is the function halved of a program; .* with loss=halved"):
        tinynas.retrain(run, name="broken-loss", resume=True, data=data)
    resumed = tinynas.retrain(run, name="broken-loss", loss=halved, resume=True, data=data)
    whole = tinynas.retrain(run, name="whole-loss", loss=halved, **quick)
    for one, other in zip(resumed.module.parameters(), whole.module.parameters(), strict=True):
        assert torch.equal(one, other)


def number(outputs, labels):
    return 1.0


def every_output(outputs, labels):
    return outputs


def detached(outputs, labels):
    return outputs.detach().sum()


@pytest.mark.parametrize(
    ("loss", "settings", "message"),
    [
        (number, {}, "the loss is of the type float; return a tensor"),
        (
            every_output,
            {},
            r"the loss has the shape \(16, 2\) and a gradient; return a single value",
        ),
        (detached, {}, "and no gradient; return a single value"),
        (halved, {"label_smoothing": 0.1}, "label_smoothing is of the cross entropy, but the loss is halved"),
        (halved, {"class_weights": "balanced"}, "class_weights is of the cross entropy, but the loss is"),
    ],
)
def test_loss_that_cannot_be_used_is_an_error(run, data, loss, settings, message):
    with pytest.raises(InputError, match=message):
        tinynas.retrain(run, data=data, loss=loss, epochs=1, batch_size=16, **settings)
