import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from helpers import README, ROOT, Quiet, model_of
from tinynas.data.registry import load_data
from tinynas.early_exit.model_file import read_exits
from tinynas.experiment.plans import ExitPlan, ExportPlan
from tinynas.models.model_file import save_model
from tinynas.pipelines.early_exit import make_exits
from tinynas.pipelines.export import export
from tinynas.pipelines.export_early_exit import Parts, export_exits

EXAMPLE = next(part for part in README.split("```")[1::2] if "InferenceSession(" in part)
EXAMPLE = EXAMPLE.removeprefix("python\n")


@pytest.mark.parametrize("kind", ["imagefolder", "digits"])
def test_readme_onnxruntime_program_names_the_classes_that_torch_finds(space, image_folder, tmp_path, kind):
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
    export(ExportPlan(model=tmp_path / "model.safetensors", out=tmp_path, int8=False), report=Quiet())
    (tmp_path / "classify.py").write_text(EXAMPLE)
    words = [sys.executable, tmp_path / "classify.py", tmp_path / "model.onnx", *files]
    out = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert [line.rsplit(" ", 1)[1] for line in out.splitlines()] == expected
    assert len(set(expected)) > 1
    assert len(EXAMPLE.splitlines()) < 30


def written(images, folder):
    paths = [folder / f"{i}.png" for i in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image[0].numpy()).save(path)
    return paths


def test_readme_python_example_runs(capsys):
    code = README.split("```python\n")[-1].split("```")[0]
    lines = [line for line in code.splitlines() if "runs/NAME" not in line]
    assert len(lines) > 8
    exec("\n".join(lines), {})
    assert "Cost(macs=" in capsys.readouterr().out


def test_readme_sidenet_example_runs(capsys):
    code = next(part for part in README.split("```python\n") if "import SideNet" in part).split("```")[0]
    exec(code, {})
    first, second, whole = json.loads(capsys.readouterr().out)
    assert 0 < first < second < whole


def test_readme_pictures_exist():
    pictures = [part.split(")")[0] for part in README.split("](") if part.split(")")[0].endswith(".png")]
    assert len(pictures) >= 2
    assert all((ROOT / picture).is_file() for picture in pictures)


@pytest.mark.parametrize(("kind", "exits"), [("fp32", "three"), ("int8", "three"), ("fp32", "cascade")])
def test_readme_early_exit_program_stops_where_torch_does(space, tmp_path, kind, exits):
    """On image files, with onnxruntime alone: the first program of README, its end replaced."""
    data = load_data("digits")
    arch = replace(space.max(), classes=10, resolution=16)
    tiny = tmp_path / "tiny.safetensors"
    for path, one in ((tmp_path / "model.safetensors", arch), (tiny, replace(arch, resolution=8))):
        model = replace(model_of(one, classes=data.classes), data="digits", normalise=data.normalise, crop=data.crop)
        save_model(path, model)
    how = {"tiny": tiny} if exits == "cascade" else {"taps": ("stages.0", "stages.1")}
    made = tmp_path / "exits"
    plan = ExitPlan(model=tmp_path / "model.safetensors", threshold=1.1, out=made, **how)
    make_exits(plan, report=Quiet())
    images, labels = (each[:60] for each in next(iter(data.evaluation_batches(data.test, 16))))
    free = read_exits(made / "sidenet.safetensors").exits
    levels = np.sort(free.observe([(images, labels)]).confidences(free.temperatures.tolist())[:-1], None)
    levels = levels[len(levels) // 4 : -len(levels) // 4]
    widest = np.diff(levels).argmax()  # for PIL rounds pixels to bytes
    threshold = float(levels[widest : widest + 2].mean())
    make_exits(replace(plan, threshold=threshold), report=Quiet())
    document = export_exits(ExportPlan(model=made / "sidenet.safetensors", out=tmp_path), report=Quiet())
    programs = [part.split("```")[0] for part in README.split("```python\n")]
    whole = next(part for part in programs if part.startswith("import json, sys"))
    end, before = (next(part for part in programs if what in part) for what in ("handed = ", "import glob"))
    start, loop = "".join(whole.splitlines(keepends=True)[:-2]).split("for name in sys.argv[2:]:")
    code = start + before + "for name in sys.argv[2:]:" + loop + end + "    print(parts.index(part))\n"
    (tmp_path / "classify.py").write_text(code)
    files = [tmp_path / f"{i}.png" for i in range(60)]
    for path, image in zip(files, data.test.images, strict=False):
        Image.fromarray(image[0].numpy()).save(path)
    first = document["forms"][1 if kind == "fp32" else 2]["files"][0]
    words = [sys.executable, tmp_path / "classify.py", tmp_path / first, *files]
    out = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    said, places = [line.rsplit(" ", 1)[1] for line in out[::2]], [int(line) for line in out[1::2]]
    form = document["forms"][1 if kind == "fp32" else 2]
    enlarged = [np.asarray(Image.open(path).resize((16, 16), Image.Resampling.BILINEAR)) for path in files]
    seen = data.normalise(torch.from_numpy(np.stack(enlarged))[:, None])  # PIL's pixels are bytes, torch's are not
    outputs = Parts([onnx.load(tmp_path / file) for file in form["files"]], int8=True).observe([(seen, labels)])
    stops = np.argmax(outputs.confidences(form["temperatures"]) >= [[threshold]] * (len(form["files"]) - 1) + [[0]], 0)
    named = [data.classes[outputs.logits[stop, i].argmax()] for i, stop in enumerate(stops)]
    agreed = np.mean([a == b and p == x for a, b, p, x in zip(said, named, places, stops, strict=True)])
    assert agreed == 1
    if kind == "fp32":
        expected = read_exits(made / "sidenet.safetensors").exits(images, threshold=threshold).exits
        assert torch.equal(expected, torch.from_numpy(stops))
        assert set(places) == set(range(len(form["files"]))), "some images stop at every exit"
    assert len(set(places)) > 1, "not all images stop at one exit"
