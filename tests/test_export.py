import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import Quiet, model_of
from onnx import numpy_helper
from PIL import Image

from tinynas import cost, load_arch, load_space
from tinynas.arch.zoo import shipped_networks, shipped_spaces
from tinynas.data.registry import load_data
from tinynas.deploy.onnx import preprocessing, to_onnx
from tinynas.experiment.config import ExportPlan
from tinynas.models.model_file import save_model
from tinynas.models.network import fold
from tinynas.pipelines.export import export
from tinynas.utils.errors import FileError, InputError

README = (Path(__file__).parent.parent / "README.md").read_text()
EXAMPLE = next(part for part in README.split("```")[1::2] if "InferenceSession(" in part)
EXAMPLE = EXAMPLE.removeprefix("python\n")


def images_for(arch, count=4):
    return torch.randn(count, arch.in_channels, arch.resolution, arch.resolution)


def check(arch):
    """The fp32 file computes what torch does, norms folded; the int8 file nearly, and holds what flash counts."""
    model, images = model_of(arch), images_for(arch)
    fp32, int8 = to_onnx(model, calibration=[images])
    with torch.no_grad():
        expected = model.net(images)
    torch.testing.assert_close(fp32.run(images), expected, atol=1e-4, rtol=1e-4)
    assert "BatchNormalization" not in {node.op_type for node in onnx.load_from_string(fp32.content).graph.node}
    assert (int8.run(images) - expected).norm() < 0.3 * expected.norm()
    assert flash_of(onnx.load_from_string(int8.content)) == cost(arch).flash


def flash_of(proto):
    """Bytes of the int8 weights, their biases, and the scales of their output channels, in a QDQ file."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    dequantised = {node.output[0]: node.input for node in proto.graph.node if node.op_type == "DequantizeLinear"}
    total = 0
    for node in proto.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            weight, bias = (dequantised[name] for name in node.input[1:3])
            assert values[weight[0]].dtype == np.int8
            assert values[bias[0]].dtype == np.int32
            total += sum(values[name].nbytes for name in (weight[0], weight[1], bias[0]))
    return total


@pytest.mark.parametrize("name", shipped_spaces())
def test_every_space(name):
    space = load_space(name)
    check(space.min())
    check(space.sample(np.random.default_rng(0)))


@pytest.mark.parametrize("name", shipped_networks())
def test_every_published_network(name):
    check(load_arch(name))


def test_every_kind_of_choice(space, rng):
    for arch in [space.max(), *(space.sample(rng) for _ in range(3))]:
        check(arch)


@pytest.mark.parametrize(("batch", "images"), [(1, 3), (4, 6), (None, 5)])
def test_any_number_of_images_whatever_the_file_takes_at_a_time(space, batch, images):
    model, many = model_of(space.min()), images_for(space.min(), images)
    fp32, int8 = to_onnx(model, batch=batch, calibration=[images_for(space.min(), 8)])
    shape = onnx.load_from_string(fp32.content).graph.input[0].type.tensor_type.shape.dim
    assert (shape[0].dim_value or None) == batch
    with torch.no_grad():
        torch.testing.assert_close(fp32.run(many), model.net(many), atol=1e-5, rtol=1e-4)
    assert int8.run(many).shape == (images, 3)


def test_the_opset_is_the_one_asked_for(space):
    (file,) = to_onnx(model_of(space.min()), opset=18)
    assert onnx.load_from_string(file.content).opset_import[0].version == 18
    with pytest.raises(InputError, match=r"18 <= opset <= \d+` must hold, but got \(opset=12\)"):
        to_onnx(model_of(space.min()), opset=12)


def test_the_file_says_what_it_is_for(space):
    model = model_of(space.min())
    for file in to_onnx(model, calibration=[images_for(space.min())]):
        about = {prop.key: prop.value for prop in onnx.load_from_string(file.content).metadata_props}
        assert json.loads(about["classes"]) == list(model.classes)
        assert json.loads(about["preprocessing"]) == json.loads(json.dumps(preprocessing(model)))
        assert about["data"] == "small"


def test_the_job_measures_all_forms_on_the_test_split(delivered_file, watched, tmp_path):
    document = export(ExportPlan(model=delivered_file, out=tmp_path / "out"), report=Quiet())
    assert document == json.loads((tmp_path / "out" / "export.json").read_text())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "export.json",
        "model.int8.onnx",
        "model.onnx",
    ]
    torch_row, fp32, int8 = document["files"]
    assert torch_row["accuracy"] == fp32["accuracy"]
    assert torch_row["difference"] == 0 < fp32["difference"] < 1e-4 < int8["difference"]
    for row in (fp32, int8):
        assert (tmp_path / "out" / row["file"]).stat().st_size == row["bytes"]
    assert all(row["latency"] > 0 for row in document["files"])
    assert fp32["peak_memory"] == 4 * int8["peak_memory"] == 4 * document["peak_sram"]
    assert document["test_images"] == 30
    assert len(vars(watched.test)["looked"]) == 1


def test_a_file_that_computes_something_else_is_not_kept(delivered_file, tmp_path, monkeypatch):
    def wrong(net):
        other = fold(net)
        other.head.classifier.bias.data += 2e-3
        return other

    monkeypatch.setattr("tinynas.deploy.onnx.fold", wrong)
    with pytest.raises(FileError, match=r"model.onnx would differ from the model by 0.002"):
        export(ExportPlan(model=delivered_file, out=tmp_path / "out"), report=Quiet())
    assert not list((tmp_path / "out").iterdir())


def test_nan_is_a_difference(delivered_file, tmp_path, monkeypatch):
    def broken(net):
        other = fold(net)
        other.head.classifier.bias.data[0] = float("nan")
        return other

    monkeypatch.setattr("tinynas.deploy.onnx.fold", broken)
    with pytest.raises(FileError, match="differ"):
        export(ExportPlan(model=delivered_file, out=tmp_path / "out", int8=False), report=Quiet())


def test_bad_plans():
    for wrong in ({"batch": 0}, {"calibration": 0}):
        with pytest.raises(InputError, match="> 0"):
            ExportPlan(model=Path("m"), out=Path("o"), **wrong)


@pytest.fixture
def tflite():
    pytest.importorskip("litert_torch", reason="the extra tflite is not installed")
    from tinynas.deploy.tflite import to_tflite

    return to_tflite


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*shipped_spaces(), *shipped_networks()])
def test_tflite_files_compute_what_torch_does(tflite, name):
    arch = load_arch(name) if name in shipped_networks() else load_space(name).min()
    model, images = model_of(arch), images_for(arch)
    fp32, int8 = tflite(model, calibration=[images])
    with torch.no_grad():
        expected = model.net(images)
    torch.testing.assert_close(fp32.run(images), expected, atol=1e-4, rtol=1e-4)
    assert (int8.run(images) - expected).norm() < 0.3 * expected.norm()


@pytest.mark.filterwarnings("ignore")
def test_a_tflite_file_of_every_kind_of_choice(tflite, any_space, rng):
    for arch in [any_space.max(), *(any_space.sample(rng) for _ in range(3))]:
        model, images = model_of(arch), images_for(arch)
        (fp32,) = tflite(model)
        with torch.no_grad():
            torch.testing.assert_close(fp32.run(images), model.net(images), atol=1e-4, rtol=1e-4)


def test_without_the_extra_tflite_is_an_error(delivered_file, tmp_path, monkeypatch):
    monkeypatch.setattr("tinynas.deploy.tflite.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'tinynas\[tflite\]'"):
        export(ExportPlan(model=delivered_file, out=tmp_path / "out", to="tflite"), report=Quiet())


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"to": "onx"}, "unknown format 'onx'; did you mean 'onnx'"),
        ({"to": "tflite", "opset": 18}, "no opset and take one image at a time"),
        ({"to": "tflite", "batch": None}, "no opset and take one image at a time"),
    ],
)
def test_plans_that_make_no_sense(plan, message):
    with pytest.raises(InputError, match=message):
        ExportPlan(model=Path("m"), out=Path("o"), **plan)


@pytest.mark.parametrize("kind", ["imagefolder", "digits"])
def test_readmes_example_names_the_classes_that_torch_finds(space, image_folder, tmp_path, kind):
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
