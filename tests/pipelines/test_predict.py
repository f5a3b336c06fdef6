import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

from tinynas import build
from tinynas.data.images import read_image
from tinynas.data.registry import load_data
from tinynas.models.model_file import Model, read_model, save_model
from tinynas.pipelines.predict import predict
from tinynas.pipelines.trained_model import network_input
from tinynas.utils.errors import FileError, InputError


def test_predict_writes_boxes_in_pixels_and_draws_them(detector_run, voc, tmp_path):
    model = detector_run / "retrain" / "plain" / "model.safetensors"
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
    with pytest.raises(InputError, match=r"the threshold must be at least 0 and less than 1, but is 1\.5; "):
        predict(model, images, tmp_path / "out", threshold=1.5)


def test_predict_shows_boxes_above_the_threshold_of_the_model(detector_run, voc, tmp_path):
    trained = read_model(detector_run / "retrain" / "plain" / "model.safetensors")
    images = load_data(voc).test.read.files
    shown = {}
    for threshold in (0.02, 1.0):  # the best one of saturated scores
        save_model(tmp_path / "m.safetensors", replace(trained, score_threshold=threshold))
        assert read_model(tmp_path / "m.safetensors").score_threshold == threshold
        shown[threshold] = sum(len(answer["boxes"]) for answer in predict(tmp_path / "m.safetensors", images, tmp_path))
    assert shown[0.02] > shown[1.0] == 0


def test_predict_names_the_likeliest_classes(space, image_folder, tmp_path):
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
