"""Every program and every cheap command on README and the pages of docs/ runs."""

import contextlib
import json
import shlex
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from helpers import ROOT, Quiet, model_of
from pages import DOCS, blocks_of, commands_of, every_page, make_example_run, program, run_command
from tinynas import SideNet, export_exits, load_space
from tinynas.data.base import Data
from tinynas.data.registry import load_data
from tinynas.deploy.onnx import to_onnx_with_postprocessing
from tinynas.deploy.onnx_parts import OnnxParts
from tinynas.early_exit.calibration import ExitOutputs
from tinynas.early_exit.model import EarlyExitModel
from tinynas.early_exit.model_file import read_early_exits, save_early_exits
from tinynas.experiment.exit_plan import ExitPlan
from tinynas.experiment.plans import ExportPlan
from tinynas.models.model_file import save_model
from tinynas.pipelines.early_exit import make_exits
from tinynas.pipelines.export import export

SCRIPTS = {
    "classify.py",
    "detect.py",
    "classify_early.py",
    "run_exits.py",
}  # programs with arguments, each run by a test of its own
CHEAP = ("cost", "spaces", "compare", "eval", "predict")  # commands that are run, not only parsed


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """A folder with the run that the pages name, runs/example, its two retrainings, and image files."""
    folder = tmp_path_factory.mktemp("docs")
    with contextlib.chdir(folder):
        make_example_run()
        pixels = load_data("digits").test.images[0, 0].numpy()
        for name in ("digit.png", "street.png"):
            Image.fromarray(pixels).save(name)
    return folder


@every_page
def test_page_python_programs_run_in_order(page, example, monkeypatch, capsys):
    monkeypatch.chdir(example)
    namespace = {}
    for block in blocks_of(page, "yaml"):
        if block.title:
            Path(block.title).write_text(block.text)
    for block in blocks_of(page, "python"):
        assert not block.title or block.title in SCRIPTS
        if not block.title:
            exec(block.text, namespace)
    check_output(page, capsys.readouterr().out)


def check_output(page, printed):
    """Check what the programs of some pages print."""
    if page == ROOT / "README.md":
        assert "Cost(macs=" in printed
    if page == DOCS / "early-exits.md":
        macs, texts = map(json.loads, printed.splitlines())  # MACs until each exit; texts that take each
        assert 0 < macs[0] < macs[1] < macs[2]
        assert sum(texts) == 128
        assert texts[0] > texts[2]


@every_page
def test_page_cheap_commands_run(page, example, monkeypatch):
    monkeypatch.chdir(example)
    for words in commands_of(page):
        if words[0] in CHEAP:
            run_command(*words)


@every_page
def test_page_console_blocks_show_the_real_output(page, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    for block in blocks_of(page, "console"):
        command, _, output = block.text.partition("\n")
        capsys.readouterr()
        run_command(*shlex.split(command)[2:])
        assert capsys.readouterr().out == output


@pytest.mark.parametrize("kind", ["imagefolder", "digits"])
def test_onnxruntime_program_names_the_classes_that_torch_finds(space, image_folder, tmp_path, kind):
    name = f"imagefolder:{image_folder}" if kind == "imagefolder" else kind
    data = load_data(name)
    arch = replace(space.min(), in_channels=data.channels, classes=len(data.classes), resolution=32)
    model = replace(model_of(arch, classes=data.classes), data=name, normalise=data.normalise, crop=data.crop)
    files = data.test.files if kind == "imagefolder" else written(data.test.images[:20], tmp_path)
    images = torch.cat([images for images, _ in data.evaluation_batches(data.test, 32)])[: len(files)]
    with torch.no_grad():
        model.net.head.classifier.bias -= model.net(images).mean(0)  # so that it finds more than one class
        expected = [data.classes[i] for i in model.net(images).argmax(1)]
    save_model(tmp_path / "model.safetensors", model)
    export(ExportPlan(model=tmp_path / "model.safetensors", out=tmp_path, to="onnx", int8=False), report=Quiet())
    (tmp_path / "classify.py").write_text(program("deployment.md", "classify.py"))
    words = [sys.executable, tmp_path / "classify.py", tmp_path / "model.onnx", *files]
    out = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert [line.rsplit(" ", 1)[1] for line in out.splitlines()] == expected
    assert len(set(expected)) > 1


def written(images, folder):
    paths = [folder / f"{i}.png" for i in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image[0].numpy()).save(path)
    return paths


def test_detection_program_prints_the_boxes_that_predict_finds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = load_data("scattered-digits")
    arch = replace(load_space("detect").min(), resolution=96)
    model = model_of(arch, classes=data.classes)
    model = replace(model, data="scattered-digits", normalise=data.normalise, crop=data.crop)
    with torch.no_grad():
        for level in model.net.head.classifier:
            level.weight.mul_(100)  # fresh weights find nothing
    save_model(Path("model.safetensors"), model)
    files = [f"{i}.png" for i in range(3)]
    for index, file in enumerate(files):
        Image.fromarray(data.test.read(index)[0].numpy()).resize((200, 120)).save(file)
    Path("model.boxes.onnx").write_bytes(to_onnx_with_postprocessing(model).content)
    run_command("predict", "model.safetensors", *files)
    predictions = json.loads(Path("predictions/predictions.json").read_text())
    expected = [(entry["image"], box["class"]) for entry in predictions for box in entry["boxes"]]
    Path("detect.py").write_text(program("deployment.md", "detect.py"))
    words = [sys.executable, "detect.py", "model.boxes.onnx", *files]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    printed = [tuple(line.split()[:2]) for line in lines]
    assert sorted(printed) == sorted(expected)
    assert len(expected) > 3


@dataclass(frozen=True)
class EarlyExits:
    """A network with early exits and its files, and images on which it takes every exit."""

    folder: Path
    model: EarlyExitModel
    data: Data
    images: torch.Tensor
    labels: torch.Tensor
    pictures: list[Path]
    forms: list[dict]


@pytest.fixture(scope="module", params=["three", "cascade"])
def digit_exits(request, space, tmp_path_factory):
    folder, data = tmp_path_factory.mktemp("exits"), load_data("digits")
    arch = replace(space.min(), classes=10, resolution=16)
    tiny = folder / "tiny.safetensors"
    for path, network in ((folder / "large.safetensors", arch), (tiny, replace(arch, resolution=8))):
        model = model_of(network, classes=data.classes)
        save_model(path, replace(model, data="digits", normalise=data.normalise, crop=data.crop))
    exits = {"tiny": tiny} if request.param == "cascade" else {"taps": ("stages.0", "stages.1")}
    make_exits(ExitPlan(model=folder / "large.safetensors", threshold=1.1, out=folder, **exits), report=Quiet())
    images, labels = (tensor[:60] for tensor in next(iter(data.evaluation_batches(data.test, 16))))
    model = read_early_exits(folder / "sidenet.safetensors")
    model.exits.thresholds = (threshold_between(model, images, labels),)
    save_early_exits(folder / "sidenet.safetensors", model)
    document = export(ExportPlan(model=folder / "sidenet.safetensors", out=folder, to="onnx"), report=Quiet()).to_dict()
    pictures = written(data.test.images[:60], folder)
    return EarlyExits(folder, model, data, images, labels, pictures, document["forms"])


def threshold_between(model, images, labels):
    """The middle of the widest gap between the confidences of images, for PIL rounds pixels to bytes."""
    outputs = model.exits.observe([(images, labels)])
    levels = np.sort(outputs.confidences(model.exits.temperatures.tolist())[:-1], None)
    levels = levels[len(levels) // 4 : -len(levels) // 4]
    widest = np.diff(levels).argmax()
    return float(levels[widest : widest + 2].mean())


@pytest.mark.parametrize("kind", ["fp32", "int8"])
def test_early_exit_program_stops_where_torch_does(digit_exits, kind):
    """On image files, with onnxruntime alone."""
    folder, data, threshold = digit_exits.folder, digit_exits.data, digit_exits.model.exits.thresholds
    form = digit_exits.forms[1 if kind == "fp32" else 2]
    (folder / "classify.py").write_text(program("early-exits.md", "classify_early.py"))
    words = [sys.executable, folder / "classify.py", folder / form["files"][0], *digit_exits.pictures]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    classes, exits = [line.split(" ")[-2] for line in lines], [int(line.split(" ")[-1]) - 1 for line in lines]

    images = []
    for path in digit_exits.pictures:
        images.append(np.asarray(Image.open(path).resize((16, 16), Image.Resampling.BILINEAR)))
    normalised = data.normalise(torch.from_numpy(np.stack(images))[:, None])  # PIL's pixels are bytes, torch's are not
    parts = OnnxParts([onnx.load(folder / file) for file in form["files"]], int8=True)
    outputs = ExitOutputs(parts.run(normalised).transpose(0, 1), digit_exits.labels)
    limits = [list(threshold)] * (len(form["files"]) - 1) + [[0]]
    expected = np.argmax(outputs.confidences(form["temperatures"]) >= limits, 0)
    assert exits == expected.tolist()
    assert classes == [data.classes[outputs.logits[stop, i].argmax()] for i, stop in enumerate(expected)]
    if kind == "fp32":
        in_torch = digit_exits.model.exits(digit_exits.images, threshold=threshold).exits
        assert exits == in_torch.tolist()
        assert set(exits) == set(range(len(form["files"]))), "some images stop at every exit"
    assert len(set(exits)) > 1, "not all images stop at one exit"


def test_program_for_exported_exits_takes_and_writes_arrays(tmp_path):
    """Its answers on networks of all kinds are compared with torch's in tests/pipelines/test_export_exits.py."""
    torch.manual_seed(0)
    images = torch.randn(30, 1, 6, 6)
    mainnet = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 16, 3))
    net = SideNet(mainnet, "0", 8, inputs=images)
    confidences = net.observe([(images, torch.zeros(30).long())]).confidences([1.0, 1.0])
    threshold = float(np.quantile(confidences[0], 0.5, method="nearest")) - 1e-4
    (path,) = export_exits(net, tmp_path / "net", inputs=images, threshold=threshold)
    text = program("early-exits.md", "run_exits.py")
    assert len([line for line in text.splitlines() if line]) <= 30
    (tmp_path / "run_exits.py").write_text(text)
    np.savez(tmp_path / "inputs.npz", input=images.numpy())
    words = [sys.executable, tmp_path / "run_exits.py", path, tmp_path / "inputs.npz", tmp_path / "outputs.npz"]
    subprocess.run(words, check=True)
    outputs, expected = np.load(tmp_path / "outputs.npz"), net(images, threshold=threshold)
    assert outputs["exits"].tolist() == expected.exits.tolist()
    assert set(outputs["exits"]) == {0, 1}
    np.testing.assert_allclose(outputs["logits"], expected.logits, atol=1e-5)
