import re
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from torch import nn

from helpers import Quiet, model_of, sampled, slow_except
from tinynas.early_exit.model import folded_parts
from tinynas.early_exit.model_file import read_early_exits
from tinynas.experiment.exit_plan import ExitPlan
from tinynas.experiment.plans import ExportPlan
from tinynas.models.model_file import save_model
from tinynas.pipelines.early_exit import make_exits
from tinynas.pipelines.export import export
from tinynas.utils.errors import FileError, InputError
from tinynas.utils.io import read_json

TAPS = ["stages.0", "stages.0.0.depthwise.conv", "stages.0.0.se"]


@pytest.mark.parametrize("tap", slow_except(TAPS, "stages.0.0.se"))
def test_export_early_exits_writes_parts_that_compute_what_torch_does(space, watched, tmp_path, tap):
    path, arch = tmp_path / "model" / "model.safetensors", sampled(space, 0)  # which has squeeze-excite
    save_model(path, replace(model_of(arch, classes=watched.classes), normalise=watched.normalise))
    folder = Path(make_exits(ExitPlan(model=path, taps=(tap,), threshold=0.4), report=Quiet()).to_dict()["folder"])
    document = export(ExportPlan(model=folder / "sidenet.safetensors", out=folder, to="onnx"), report=Quiet()).to_dict()
    assert read_json(folder / "export.json") == document
    torchs, fp32, int8 = document["forms"]
    assert fp32["difference"] < 1e-4
    assert [fp32[name] for name in ("accuracy", "macs", "shares")] == [
        torchs[name] for name in ("accuracy", "macs", "shares")
    ]
    assert int8["temperatures"] != fp32["temperatures"], "fitted on what int8 says"
    files = ["part1.onnx", "part2.onnx", "part1.int8.onnx", "part2.int8.onnx"]
    assert [*fp32["files"], *int8["files"]] == files
    assert all((folder / name).exists() for name in files)


@pytest.mark.parametrize("tap", ["stages.0", "stages.1.0.depthwise"])
def test_export_early_exits_as_tflite_parts(space, watched, tmp_path, tap):
    pytest.importorskip("ai_edge_litert", reason="the extra tflite is not installed")
    path = tmp_path / "model" / "model.safetensors"
    save_model(path, replace(model_of(space.max(), classes=watched.classes), normalise=watched.normalise))
    folder = Path(make_exits(ExitPlan(model=path, taps=(tap,), threshold=0.4), report=Quiet()).to_dict()["folder"])
    plan = ExportPlan(model=folder / "sidenet.safetensors", out=folder, to="tflite")
    torchs, fp32, int8 = export(plan, report=Quiet()).to_dict()["forms"]
    assert fp32["difference"] < 1e-3  # of logits around 100
    for name in ("accuracy", "macs", "shares"):
        assert fp32[name] == torchs[name]
    assert (fp32["kind"], int8["kind"]) == ("TFLite fp32", "TFLite int8")
    assert int8["temperatures"] != fp32["temperatures"]
    files = ["part1.tflite", "part2.tflite", "part1.int8.tflite", "part2.int8.tflite"]
    assert [*fp32["files"], *int8["files"]] == files
    sizes = [(folder / name).stat().st_size for name in files]
    assert [fp32["bytes"], int8["bytes"]] == [sum(sizes[:2]), sum(sizes[2:])]


def test_export_early_exits_to_firmware_has_the_exits_of_the_int8_files(space, watched, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="the extra tflite is not installed")
    path = tmp_path / "model" / "model.safetensors"
    save_model(path, replace(model_of(space.max(), classes=watched.classes), normalise=watched.normalise))
    plan = ExitPlan(model=path, taps=("stages.0",), threshold=0.4)
    folder = Path(make_exits(plan, report=Quiet()).to_dict()["folder"])
    plan = ExportPlan(model=folder / "sidenet.safetensors", out=folder, to="firmware")
    _, _, int8 = export(plan, report=Quiet()).to_dict()["forms"]
    for number in (1, 2):
        content = (folder / f"part{number}.int8.tflite").read_bytes()
        assert (folder / "firmware" / f"part{number}.tflite").read_bytes() == content
    source = (folder / "firmware" / "model_config.c").read_text()
    assert "const float kModelThresholds[MODEL_NUM_OUTPUTS - 1] = {\n  0.4f,\n};\n" in source
    temperatures = re.search(r"kModelTemperatures\[MODEL_NUM_OUTPUTS\] = {(.*?)}", source, re.DOTALL).group(1)
    read = [float(literal.strip().removesuffix("f")) for literal in temperatures.split(",") if literal.strip()]
    assert read == pytest.approx(int8["temperatures"], rel=1e-6)


@pytest.mark.parametrize("to", ["tflite", "firmware"])
def test_export_early_exits_as_tflite_rejects_cascades(model_file, watched, space, tmp_path, to):
    big = tmp_path / "big" / "model.safetensors"
    save_model(big, replace(model_of(space.max(), classes=watched.classes), normalise=watched.normalise))
    exits = make_exits(ExitPlan(model=big, tiny=model_file, threshold=0.4), report=Quiet()).to_dict()["folder"]
    plan = ExportPlan(model=Path(exits) / "sidenet.safetensors", out=tmp_path / "out", to=to)
    with pytest.raises(InputError, match=f"not as {to}; export each of its two models with --to {to}"):
        export(plan, report=Quiet())


def test_export_early_exits_discards_files_that_compute_something_else(early_exits, monkeypatch):
    folder = early_exits.exits
    plan = ExportPlan(model=folder / "sidenet.safetensors", out=folder / "out", to="onnx", int8=False)

    def wrong(model):
        parts = folded_parts(model)
        nn.init.ones_(parts[-1].get_parameter("body.net_head_classifier_weight"))
        return parts

    monkeypatch.setattr("tinynas.pipelines.export_early_exit.folded_parts", wrong)
    with pytest.raises(FileError, match="the files would differ from the model by"):
        export(plan, report=Quiet())
    assert list((folder / "out").iterdir()) == []


def test_export_early_exits_resizes_inside_a_cascade_where_image_sizes_differ(model_file, watched, space, tmp_path):
    small, large = tmp_path / "small" / "model.safetensors", tmp_path / "large" / "model.safetensors"
    for path, arch in ((small, space.min()), (large, replace(space.min(), resolution=12))):
        save_model(path, replace(model_of(arch, classes=watched.classes), normalise=watched.normalise))
    for big, resizes in ((small, 0), (large, 1)):
        folder = Path(
            make_exits(ExitPlan(model=big, tiny=model_file, threshold=0.4), report=Quiet()).to_dict()["folder"]
        )
        plan = ExportPlan(model=folder / "sidenet.safetensors", out=folder, to="onnx", int8=False)
        document = export(plan, report=Quiet()).to_dict()
        assert document["forms"][1]["accuracy"] == document["forms"][0]["accuracy"]
        nodes = onnx.load(folder / "part1.onnx").graph.node
        assert sum(node.op_type == "Resize" for node in nodes) == resizes
        assert document["preprocessing"]["crop"] == read_early_exits(folder / "sidenet.safetensors").resolution
    with pytest.raises(InputError, match="for one image at a time"):
        export(ExportPlan(model=folder / "sidenet.safetensors", out=tmp_path / "p", to="onnx", batch=2), report=Quiet())
    tuned = ExportPlan(model=folder / "sidenet.safetensors", out=tmp_path / "p", to="tflite", qat=1)
    with pytest.raises(InputError, match="early exits are not fine-tuned in int8; leave out --qat"):
        export(tuned, report=Quiet())
