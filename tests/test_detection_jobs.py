"""The whole way with detectors, on images in the real layout of Pascal VOC."""

import json
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from conftest import DETECTORS, RECIPE, Quiet
from PIL import Image
from test_detection_data import voc_folder

from tinynas import Budget, build, cost, load, load_arch
from tinynas.data.base import Normalisation
from tinynas.data.loading import read_image
from tinynas.data.registry import load_data
from tinynas.experiment.config import ExportPlan, RetrainPlan, SearchPlan, SupernetConfig, with_settings
from tinynas.models.model_file import Model, save_model
from tinynas.pipelines.export import export
from tinynas.pipelines.planning import default_config
from tinynas.pipelines.predict import network_input, predict
from tinynas.pipelines.retrain import retrain
from tinynas.pipelines.search import search
from tinynas.tasks.detection import decode_with_nms, detections
from tinynas.utils.errors import FileError


@pytest.fixture(scope="module")
def voc(tmp_path_factory):
    """Two classes: bright rectangles in the left half, dark ones in the right."""
    root = tmp_path_factory.mktemp("voc")
    for year, lists in {"2007": {"trainval": 16, "test": 6}, "2012": {"trainval": 8}}.items():
        folder = voc_folder(root / "VOCdevkit" / f"VOC{year}", year, **lists)
        for path in (folder / "JPEGImages").iterdir():
            pixels = np.random.default_rng(0).integers(90, 110, (20, 40, 3), dtype=np.uint8)
            pixels[:, :20], pixels[10:15, 30:] = 220, 20
            Image.fromarray(pixels).save(path)
    return f"voc:{root}"


@pytest.fixture(scope="module")
def run(voc, tmp_path_factory):
    """A run with a supernet, a front, and its best network retrained in two ways."""
    folder = tmp_path_factory.mktemp("detection")
    (folder / "small.yaml").write_text(yaml.safe_dump(DETECTORS))
    recipe = replace(RECIPE, epochs=2, batch_size=6)
    config = SupernetConfig(space=str(folder / "small.yaml"), data=voc, recipe=recipe)
    plan = SearchPlan(run=folder / "run", config=config, budget=Budget(macs=2_000_000), trials=4)
    front = search(plan, report=Quiet())
    assert (front["metric"], front["front"][0]["standard_error"]) == ("mAP", None)
    for name, netaug, teacher in (("plain", False, None), ("both", True, "supernet")):
        arch = load_arch(plan.run / "best.yaml")
        chosen = with_settings(
            default_config(arch, voc, netaug=netaug, teacher=teacher),
            {"epochs": 25 if name == "plain" else 1, "batch_size": 6, "lr": 0.05, "warmup_epochs": 1.0},
        )
        retrain(RetrainPlan(folder=plan.run / "retrain" / name, arch=arch, config=chosen), report=Quiet())
    return plan.run


def test_the_space_takes_anchors_from_the_data_unless_it_has_its_own(run, voc):
    assert load_arch(run / "best.yaml").detector.anchors == tuple(DETECTORS["head"]["anchors"])
    config = with_settings(default_config(load_arch("mcunet-in3"), voc, netaug=False, teacher=None), {"epochs": 1})
    small = replace(load_arch(run / "best.yaml"), head=replace(load_arch(run / "best.yaml").detector, width=8))
    default = replace(small, head=type(small.detector)(width=8))
    retrain(RetrainPlan(folder=run / "retrain" / "anchors", arch=default, config=config), report=Quiet())
    net = load(run / "retrain" / "anchors" / "model.safetensors")
    sides = torch.tensor(net.arch.detector.anchors).view(-1, 2)
    assert {(0.5, 1.0), (0.25, 0.25)} <= {tuple(round(side, 2) for side in pair) for pair in sides.tolist()}


def test_a_detector_learns(run, voc):
    metrics = json.loads((run / "retrain" / "plain" / "metrics.json").read_text())
    assert metrics["metric"] == "mAP"
    assert metrics["ap50"] > 50
    assert set(metrics["by_class"]) == set(load_data(voc).classes)
    both = json.loads((run / "retrain" / "both" / "metrics.json").read_text())
    assert (both["netaug"], both["teacher"], both["macs"]) == (True, "supernet", metrics["macs"])


def test_files_give_torchs_boxes(run, voc, tmp_path):
    model = run / "retrain" / "plain" / "model.safetensors"
    document = export(ExportPlan(model=model, out=tmp_path), report=Quiet())
    assert [row["file"] for row in document["files"][1:]] == ["model.onnx", "model.int8.onnx", "model.boxes.onnx"]
    accuracies = [row["accuracy"] for row in document["files"]]
    assert accuracies[0] == accuracies[1] == pytest.approx(accuracies[3], abs=0.01)
    session = onnxruntime.InferenceSession(tmp_path / "model.boxes.onnx")
    data, net = load_data(voc), load(model)
    ((images, _),) = data.evaluation_batches(data.test, net.arch.resolution)
    for image in images:
        with torch.no_grad():
            (found,) = detections(net(image[None]), net.arch.detector, net.arch.resolution)
        for ours, theirs in zip(found, session.run(None, {"images": image[None].numpy()}), strict=True):
            assert np.allclose(ours, theirs, atol=1e-4)
        assert len(found.scores)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["preprocessing"])["stretch"] is True


def test_a_file_with_other_boxes_is_not_kept(run, tmp_path, monkeypatch):
    def stricter(outputs, at, *, threshold=0.01):
        return decode_with_nms(outputs, at, threshold=0.2)

    monkeypatch.setattr("tinynas.tasks.detection.DetectorWithNMS.forward", lambda self, x: _forward(self, x, stricter))
    with pytest.raises(FileError, match=r"model.boxes.onnx would give other boxes than torch for \d of 6 images"):
        export(ExportPlan(model=run / "retrain" / "both" / "model.safetensors", out=tmp_path), report=Quiet())
    assert not list(tmp_path.iterdir())


def _forward(module, image, suppress):
    from tinynas.tasks.detection import AnchorGrid

    return tuple(suppress(module.net(image)[0], AnchorGrid(module.corner, module.cell, module.anchor)))


def test_boxes_are_told_in_pixels_and_drawn(run, voc, tmp_path):
    model = run / "retrain" / "plain" / "model.safetensors"
    images = load_data(voc).test.read.files[:2]
    answers = predict(model, images, tmp_path / "out", threshold=0.2)
    assert answers == json.loads((tmp_path / "out" / "predictions.json").read_text())
    (best, *_), _ = (answer["boxes"] for answer in answers)
    left, top, right, bottom = best["box"]
    assert 0 <= left < right <= 40
    assert 0 <= top < bottom <= 20
    with Image.open(answers[0]["picture"]) as picture:
        assert picture.size == (480, 240)
        assert len(picture.getcolors(100_000)) > 50
    assert answers[0]["picture"] != answers[1]["picture"]
    with pytest.raises(FileError, match="cannot read the image nothing"):
        predict(model, ["nothing.png"], tmp_path / "out")


def test_a_classifier_tells_the_likeliest_classes(space, image_folder, tmp_path):
    data = load_data(f"imagefolder:{image_folder}")
    arch = replace(space.min(), in_channels=3, classes=2)
    model = Model(net=build(arch).eval(), data="x", classes=("cat", "dog"), normalise=data.normalise, crop=data.crop)
    save_model(tmp_path / "m.safetensors", model)
    answers = predict(tmp_path / "m.safetensors", data.test.files, tmp_path / "out")
    ((images, _),) = data.evaluation_batches(data.test, arch.resolution)
    for image, file, answer in zip(images, data.test.files, answers, strict=True):
        assert torch.equal(network_input(model, read_image(file, 3))[0], image), "seen as in evaluation"
        shares = model.net(image[None])[0].softmax(0)
        assert answer["classes"]["dog"] == pytest.approx(shares[1].item(), abs=1e-6)
        assert next(iter(answer["classes"])) == model.classes[shares.argmax()]


def test_one_detector_at_several_sizes(run, tinynas):
    code, out, err = tinynas("eval", run / "retrain" / "plain", "--resolutions", "32,96", "--json")
    assert code == 0, err
    small, large = json.loads(out)["resolutions"]
    arch = load(run / "retrain" / "plain" / "model.safetensors").arch
    assert (small["resolution"], small["macs"]) == (32, cost(replace(arch, resolution=32)).macs)
    assert small["macs"] < large["macs"]
    code, out, err = tinynas("compare", run, "--json", "--out", "c.png")
    assert code == 0, err
    names = [one["name"] for one in json.loads(out)["series"]]
    assert names[-1] == "plain at other sizes"
    assert {one["metric"] for one in json.loads(out)["series"]} == {"mAP"}


def test_the_commands(run, voc, tinynas):
    code, out, err = tinynas("eval", run / "retrain" / "plain")
    assert code == 0, err
    assert "AP50" in out
    code, out, err = tinynas("predict", run / "retrain" / "plain", *load_data(voc).test.read.files[:2])
    assert code == 0, err
    assert "written to predictions: predictions.json and pictures" in out
    code, out, err = tinynas(
        *("retrain", "--from", run / "retrain" / "plain" / "model.safetensors", "--data", voc),
        *("--netaug", "--epochs", "1", "--batch-size", "6", "--json"),
    )
    assert code == 0, err
    assert json.loads(out)["metric"] == "mAP"


def test_a_classifiers_backbone_begins_a_detector(voc, tmp_path, tinynas):
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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search", "--task", "detekt"], "unknown task 'detekt'; did you mean 'detect'?"),
        (["search", "--data", "scattered-digits"], "networks that classify cannot learn from boxes; take other --data"),
        (["search", "--task", "detect", "--data", "digits"], "networks that detect cannot learn from labelled images"),
        (["search", "--task", "detect", "--space", "micro"], "networks that classify cannot learn from boxes"),
        (["retrain", "mcunet-in3", "--data", "scattered-digits"], "or --task detect"),
    ],
)
def test_bad_input_is_answered_in_one_line(fails, words, message):
    assert message in fails(*words)
