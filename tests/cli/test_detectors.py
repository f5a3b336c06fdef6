import json
from dataclasses import replace
from pathlib import Path

import torch

from tinynas import build, cost, load, load_arch
from tinynas.data.base import Normalisation
from tinynas.data.registry import load_data
from tinynas.models.model_file import Model, save_model


def test_eval_command_evaluates_a_detector_at_several_sizes(detector_run, tinynas):
    code, out, err = tinynas("eval", detector_run / "retrain" / "plain", "--resolutions", "32,96", "--json")
    assert code == 0, err
    small, large = json.loads(out)["resolutions"]
    arch = load(detector_run / "retrain" / "plain" / "model.safetensors").arch
    assert (small["resolution"], small["macs"]) == (32, cost(replace(arch, resolution=32)).macs)
    assert small["macs"] < large["macs"]
    code, out, err = tinynas("compare", detector_run, "--json", "--out", "c.png")
    assert code == 0, err
    names = [series["name"] for series in json.loads(out)["series"]]
    assert names[-1] == "plain at other sizes"
    assert {series["metric"] for series in json.loads(out)["series"]} == {"mAP"}


def test_eval_command_draws_what_a_detector_errs_in(detector_run, tinynas):
    code, out, err = tinynas("eval", detector_run / "retrain" / "plain", "--plots", "errors", "--json")
    assert code == 0, err
    report = json.loads(out)
    metrics = json.loads((detector_run / "retrain" / "plain" / "metrics.json").read_text())
    for key in ("accuracy", "ap50", "by_class", "detection"):
        assert report[key] == metrics[key]
    assert report["detection"]["ap_small"] is not None, "images have 40 x 20 pixels"
    assert report["detection"]["ap_medium"] is report["detection"]["ar_large"] is None
    errors = report["errors"]
    assert errors["classes"] == [*report["by_class"], "background"]
    rows = errors["confusion"]
    objects = load_data(report["data"]).test.labels
    assert [sum(row) for row in rows[:-1]] == [int((objects[:, 1] == index).sum()) for index in range(len(rows) - 1)]
    assert 0 < errors["threshold"] < 1
    for name in ("confusion.png", "precision-recall.png"):
        assert Path("errors", name).read_bytes().startswith(b"\x89PNG")
    code, out, err = tinynas("eval", detector_run / "retrain" / "plain", "--plots", "errors")
    assert code == 0, err
    assert "have the best F1 on search-val" in out
    assert "written to errors: confusion.png, precision-recall.png" in out


def test_commands_evaluate_predict_and_retrain_a_detector(detector_run, voc, tinynas):
    code, out, err = tinynas("eval", detector_run / "retrain" / "plain")
    assert code == 0, err
    assert "AP50" in out
    code, out, err = tinynas("predict", detector_run / "retrain" / "plain", *load_data(voc).test.read.files[:2])
    assert code == 0, err
    assert "written to predictions: predictions.json and pictures" in out
    code, out, err = tinynas(
        *("retrain", "--from", detector_run / "retrain" / "plain" / "model.safetensors", "--data", voc),
        *("--netaug", "--epochs", "1", "--batch-size", "6", "--json"),
    )
    assert code == 0, err
    assert json.loads(out)["metric"] == "mAP"


def test_retrain_command_begins_a_detector_with_a_classifiers_backbone(voc, tmp_path, tinynas):
    arch = replace(load_arch("mobilenet-v2-tiny"), resolution=32, classes=5)
    torch.manual_seed(0)
    normalise = Normalisation(mean=(0.5,) * 3, std=(0.5,) * 3)
    model = Model(net=build(arch), data="x", classes=tuple("abcde"), normalise=normalise)
    save_model(tmp_path / "classifier.safetensors", model)
    code, out, err = tinynas(
        *("retrain", "--task", "detect", "--from", "classifier.safetensors", "--data", voc, "--json"),
        *("--epochs", "1", "--lr", "1e-9", "--batch-size", "12"),
    )
    assert code == 0, err
    net = load(json.loads(out)["model"])
    assert net.arch.task == "detect"
    assert torch.allclose(net.stem.conv.weight, model.net.stem.conv.weight, atol=1e-5)
