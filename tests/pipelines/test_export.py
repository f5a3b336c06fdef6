import json
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch

from helpers import Quiet
from tinynas import load
from tinynas.data.registry import load_data
from tinynas.deploy.histograms import CRITERIA
from tinynas.experiment.export_report import ExportReport
from tinynas.experiment.plans import ExportPlan
from tinynas.experiment.result_file import read_result
from tinynas.models.model_file import read_model, save_model
from tinynas.models.network import fold
from tinynas.pipelines.export import export
from tinynas.tasks.detection import decode_with_nms, detections
from tinynas.utils.errors import FileError, InputError


def test_export_of_a_detector_gives_torchs_boxes(detector_run, voc, tmp_path):
    model = detector_run / "retrain" / "plain" / "model.safetensors"
    document = export(ExportPlan(model=model, out=tmp_path, to="onnx"), report=Quiet()).to_dict()
    assert [row["file"] for row in document["files"][1:]] == ["model.onnx", "model.int8.onnx", "model.boxes.onnx"]
    accuracies = [row["accuracy"] for row in document["files"]]
    assert accuracies[0] == accuracies[1] == pytest.approx(accuracies[3], abs=0.01)
    session = onnxruntime.InferenceSession(tmp_path / "model.boxes.onnx")
    data, net = load_data(voc), load(model)
    ((images, _),) = data.evaluation_batches(data.test, net.arch.resolution)
    for image in images:
        with torch.no_grad():
            (detected,) = detections(net(image[None]), net.arch)
        for ours, theirs in zip(detected, session.run(None, {"images": image[None].numpy()}), strict=True):
            assert np.allclose(ours, theirs, atol=1e-4)
        assert len(detected.scores)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["preprocessing"])["stretch"] is True


def test_export_discards_a_file_with_other_boxes(detector_run, tmp_path, monkeypatch):
    def stricter(outputs, at, *, threshold=0.01):
        return decode_with_nms(outputs, at, threshold=0.2)

    monkeypatch.setattr("tinynas.tasks.detection.DetectorWithNMS.forward", lambda self, x: _forward(self, x, stricter))
    plan = ExportPlan(
        model=detector_run / "retrain" / "both" / "model.safetensors", out=tmp_path, to="onnx", int8=False
    )
    with pytest.raises(FileError, match=r"model.boxes.onnx would return other boxes than PyTorch for \d of 6 images"):
        export(plan, report=Quiet())
    assert not list(tmp_path.iterdir())


def _forward(module, image, suppress):
    from tinynas.tasks.detection import Positions

    return tuple(suppress(module.net(image)[0], Positions(module.centre, module.stride)))


def test_export_measures_all_forms_on_the_test_split(model_file, watched, tmp_path):
    document = export(ExportPlan(model=model_file, out=tmp_path / "out", to="onnx"), report=Quiet()).to_dict()
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


def test_export_discards_a_file_that_computes_something_else(model_file, tmp_path, monkeypatch):
    def wrong(net):
        other = fold(net)
        other.head.classifier.bias.data += 2e-3
        return other

    monkeypatch.setattr("tinynas.deploy.onnx.fold", wrong)
    with pytest.raises(FileError, match=r"model.onnx would differ from the model by 0.002"):
        export(ExportPlan(model=model_file, out=tmp_path / "out", to="onnx"), report=Quiet())
    assert not list((tmp_path / "out").iterdir())


def test_export_counts_nan_as_a_difference(model_file, tmp_path, monkeypatch):
    def broken(net):
        other = fold(net)
        other.head.classifier.bias.data[0] = float("nan")
        return other

    monkeypatch.setattr("tinynas.deploy.onnx.fold", broken)
    with pytest.raises(FileError, match="differ"):
        export(ExportPlan(model=model_file, out=tmp_path / "out", to="onnx", int8=False), report=Quiet())


def test_export_names_the_missing_extra_tflite(model_file, tmp_path, monkeypatch):
    monkeypatch.setattr("tinynas.deploy.runtimes.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'tinynas\[tflite\]'"):
        export(ExportPlan(model=model_file, out=tmp_path / "out", to="tflite"), report=Quiet())


FIRMWARE = {
    "CMakeLists.txt",
    "README.md",
    "golden.cc",
    "golden.h",
    "main.cc",
    "model.tflite",
    "model_config.c",
    "model_config.h",
    "model_data.cc",
    "model_data.h",
    "ops_resolver.h",
    "preprocess.c",
    "preprocess.h",
}


@pytest.mark.parametrize("kind", ["classifier", "detector"])
def test_export_to_firmware_writes_a_folder_beside_the_files(request, kind, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="the extra tflite is not installed")
    if kind == "classifier":
        model = request.getfixturevalue("model_file")
        request.getfixturevalue("watched")
    else:
        model = request.getfixturevalue("detector_run") / "retrain" / "plain" / "model.safetensors"
    document = export(ExportPlan(model=model, out=tmp_path, to="firmware"), report=Quiet()).to_dict()
    assert [row["file"] for row in document["files"][1:]] == ["model.tflite", "model.int8.tflite"]
    assert {path.name for path in (tmp_path / "firmware").iterdir()} == FIRMWARE
    assert (tmp_path / "firmware" / "model.tflite").read_bytes() == (tmp_path / "model.int8.tflite").read_bytes()
    assert "#define GOLDEN_COUNT 3\n" in (tmp_path / "firmware" / "golden.h").read_text()


def test_firmware_of_a_detector_has_the_threshold_of_the_model(detector_run, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="the extra tflite is not installed")
    trained = read_model(detector_run / "retrain" / "plain" / "model.safetensors")
    save_model(tmp_path / "model.safetensors", replace(trained, score_threshold=0.4375))
    export(ExportPlan(model=tmp_path / "model.safetensors", out=tmp_path, to="firmware"), report=Quiet())
    header = (tmp_path / "firmware" / "model_config.h").read_text()
    assert "#define MODEL_SCORE_THRESHOLD 0.4375f\n" in header


def test_export_to_firmware_needs_the_int8_file(tmp_path):
    with pytest.raises(InputError, match="firmware runs the int8 file, but int8 is off; leave out --no-int8"):
        ExportPlan(model=tmp_path, out=tmp_path, to="firmware", int8=False)
    with pytest.raises(InputError, match="TFLite files have no operator set"):
        ExportPlan(model=tmp_path, out=tmp_path, to="firmware", opset=18)


class Steps(Quiet):
    """Remembers the progress of fine-tuning."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def advance(self, task, done, total, text):
        super().advance(task, done, total, text)
        if task == "fine-tuning in int8":
            self.steps.append((done, total))


def test_export_reports_the_calibration_and_fine_tunes(model_file, watched, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="the extra tflite is not installed")
    plain = ExportPlan(model=model_file, out=tmp_path / "plain", to="tflite")
    tuned = replace(plain, out=tmp_path / "tuned", qat=20)
    progress = Steps()
    before, after = export(plain, report=Quiet()), export(tuned, report=progress)
    assert progress.steps == [(step, 60) for step in range(1, 61)]  # 20 epochs of 3 batches
    assert (before.qat, after.qat) == (0, 20)
    (in_torch, fp32, int8), (_, _, tuned_int8) = before.files, after.files
    assert int8.calibration in CRITERIA
    assert (in_torch.calibration, fp32.calibration) == (None, None)
    assert tuned_int8.output_error <= int8.output_error < 0.2
    files = [tmp_path / folder / "model.tflite" for folder in ("plain", "tuned")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert read_result(ExportReport, tuned.out / "export.json", advice="") == after
