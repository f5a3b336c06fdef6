import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from tinynas import build
from tinynas.data.images import read_image
from tinynas.data.registry import load_data
from tinynas.models.model_file import Model, save_model
from tinynas.pipelines.predict import draw_boxes, predict
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


def boxes_of(*names):
    """Return boxes of these classes, side by side."""
    boxes = []
    for number, name in enumerate(names):
        boxes.append({"class": name, "score": 0.5, "box": [10 * number, 0, 10 * number + 9, 9]})
    return boxes


def test_draw_boxes_writes_the_number_of_a_class_that_no_font_can_write(install_fonts):
    install_fonts()
    image, names = torch.zeros(1, 10, 30, dtype=torch.uint8), ("cat", "圆", "кошка")
    drawn = draw_boxes(image, boxes_of(*names), names)
    assert drawn == draw_boxes(image, boxes_of("cat", "class 1", "кошка"), ("cat", "class 1", "кошка"))
    assert drawn != draw_boxes(image, boxes_of("cat", "class 2", "кошка"), ("cat", "class 2", "кошка"))


def test_draw_boxes_escapes_control_characters(install_fonts):
    install_fonts()
    image = torch.zeros(1, 10, 30, dtype=torch.uint8)
    drawn = draw_boxes(image, boxes_of("a\nb"), ("a\nb",))
    assert drawn == draw_boxes(image, boxes_of(r"a\nb"), (r"a\nb",))
    assert drawn != draw_boxes(image, boxes_of("class 0"), ("class 0",))


def test_draw_boxes_writes_each_name_in_a_font_that_has_it(install_fonts):
    """The installed font has full squares: the only ones that are white all over."""
    install_fonts(NotoSans="圆方块")
    image, names = torch.zeros(1, 10, 30, dtype=torch.uint8), ("cat", "圆")
    with Image.open(io.BytesIO(draw_boxes(image, boxes_of(*names), names))) as picture:
        white = torch.from_numpy((np.asarray(picture) == 255).all(2)).double()[None]
    squares = torch.nn.functional.avg_pool2d(white, 15, stride=1)[0]  # (146, 466), 1 where 15x15 pixels are white
    assert squares[:, 160:].max() == 1, "in the second box, whose left side is at 160"
    assert squares[:, :145].max() < 1
