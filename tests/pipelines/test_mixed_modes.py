"""A folder of images in many stored forms is trained, evaluated, exported and predicted with the same pixels."""

import ast
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch

from pages import program
from pictures import PICTURES
from tinynas.data.images import read_image
from tinynas.data.registry import load_data
from tinynas.data.transforms import center_crop
from tinynas.models.model_file import read_model
from tinynas.pipelines import trained_model

RESOLUTION = 8
KINDS = (
    "palette-alphas.png",
    "palette-key.gif",
    "grey8.png",
    "grey-alpha.png",
    "colour-alpha.png",
    "colour-key.png",
    "deep.png",
    "deep-big-endian.tif",
    "deep-colour-alpha.png",
    "turned6.jpg",
    "turned7-alpha.png",
    "turned5-deep.png",
    "turned8.webp",
    "turned3.tif",
    "cmyk.jpg",
    "frames.gif",
    "frames-alpha.webp",
    "colour.avif",
)
PARTLY_READ = {  # by the docs' programs, which say so
    "deep-key.png",
    "deep-white-is-zero.tif",
    "twelve-bits.tif",
    "deep-colour-key.png",
    "grey2-key.png",
    "grey4-key.png",
}
PROGRAMS = (
    ("deployment.md", "classify.py"),
    ("deployment.md", "detect.py"),
    ("early-exits.md", "classify_early.py"),
)


def functions_of(page, title):
    """The functions of a program of the docs, without running the rest of it."""
    tree = ast.parse(program(page, title))
    tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef)]
    namespace = {}
    exec(compile(tree, title, "exec"), namespace)
    return namespace


@pytest.fixture
def mixed(tmp_path):
    for part in ("train", "val"):
        for name in ("a", "b"):
            folder = tmp_path / "mixed" / part / name
            folder.mkdir(parents=True)
            for kind in KINDS:
                (folder / kind).write_bytes(PICTURES[kind].content)
    return tmp_path / "mixed"


@pytest.fixture
def model_path(mixed, space, tinynas, tmp_path):
    """A network trained on the folder for an epoch."""
    (tmp_path / "tiny.yaml").write_text(replace(space.min(), in_channels=3, resolution=RESOLUTION).to_yaml())
    words = ("--data", f"imagefolder:{mixed}", "--epochs", "1", "--batch-size", "8")
    code, _, err = tinynas("retrain", "tiny.yaml", *words)
    assert code == 0, err
    (path,) = tmp_path.rglob("model.safetensors")
    return path


@pytest.fixture
def recorded(monkeypatch):
    """The images that predict feeds to networks, and those that run through exported files."""
    fed, exported = [], []
    network_input, run = trained_model.network_input, onnxruntime.InferenceSession.run

    def recording_input(model, image):
        fed.append(network_input(model, image))
        return fed[-1]

    def recording_run(session, names, feeds, *args):
        exported.append(torch.from_numpy(feeds["images"].copy()))
        return run(session, names, feeds, *args)

    monkeypatch.setattr(trained_model, "network_input", recording_input)
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", recording_run)
    return fed, exported


def images_of(data, split):
    """The images of a split in evaluation, by their files."""
    ((images, _),) = data.evaluation_batches(split, RESOLUTION)
    return dict(zip(split.files, images, strict=True))


def test_pixels_are_the_same_everywhere(mixed, model_path, tinynas, recorded, tmp_path):
    data = load_data(f"imagefolder:{mixed}")
    train, test = images_of(data, data.train), images_of(data, data.test)
    for file, image in (train | test).items():
        picture = PICTURES[file.rpartition("/")[2]]
        expected = center_crop(torch.from_numpy(picture.pixels.copy()).permute(2, 0, 1), RESOLUTION, data.crop)
        pixels = data.normalise.undone(image[None])[0]
        assert (pixels.int() - expected.int()).abs().max() <= picture.tolerance, file

    for batch in data.training_batches(8, (RESOLUTION,), seed=0, epoch=0, augmentation="none"):
        for index, image in zip(batch.indices.tolist(), batch.images, strict=True):
            assert torch.equal(image, train[data.train.files[index]])
    calibration = torch.cat(data.calibration_batches(RESOLUTION))
    assert sorted(map(torch.sum, calibration)) == sorted(map(torch.sum, train.values()))
    assert all(any(torch.equal(image, other) for other in train.values()) for image in calibration)

    fed, exported = recorded
    code, _, err = tinynas("predict", model_path, *test)
    assert code == 0, err
    assert torch.equal(torch.cat(fed), torch.stack(list(test.values())))
    predictions = json.loads((tmp_path / "predictions" / "predictions.json").read_text())
    net = read_model(model_path).net
    for prediction, image in zip(predictions, test.values(), strict=True):
        assert prediction["classes"]["b"] == pytest.approx(net(image[None])[0].softmax(0)[1].item(), abs=1e-5)

    code, _, err = tinynas("export", model_path, "--to", "onnx", "--out", "exported", "--calibration", "8")
    assert code == 0, err
    seen = torch.cat(exported)
    for image in test.values():
        assert any(torch.equal(image, other) for other in seen)


def test_programs_of_the_docs_find_the_same_classes(mixed, model_path, tinynas, tmp_path):
    """Their pixels differ from ours by a level at most: PIL resizes in another way than torch."""
    code, _, err = tinynas("export", model_path, "--to", "onnx", "--out", "exported", "--no-int8")
    assert code == 0, err
    data = load_data(f"imagefolder:{mixed}")
    test = images_of(data, data.test)
    session = onnxruntime.InferenceSession("exported/model.onnx")
    settings = json.loads(session.get_modelmeta().custom_metadata_map["preprocessing"])
    level = 1.5 / 255 / min(data.normalise.std)
    for page, title in (PROGRAMS[0], PROGRAMS[2]):
        preprocess = functions_of(page, title)["preprocess"]
        for file, image in test.items():
            assert np.abs(preprocess(file, settings)[0] - image.numpy()).max() < level, file
    (tmp_path / "classify.py").write_text(program(*PROGRAMS[0]))
    words = [sys.executable, "classify.py", "exported/model.onnx", *test]
    lines = subprocess.run(words, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.splitlines()
    net = read_model(model_path).net
    for line, (file, image) in zip(lines, test.items(), strict=True):
        logits = net(image[None])[0]
        if (logits[0] - logits[1]).abs() > 0.05:
            assert line == f"{file} {data.classes[logits.argmax()]}"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("page", "title"), PROGRAMS)
def test_programs_of_the_docs_load_the_same_pixels(tmp_path, page, title, channels):
    """All three of them, all forms that they read."""
    load_image = functions_of(page, title)["load_image"]
    for name, picture in PICTURES.items():
        file = tmp_path / name
        file.write_bytes(picture.content)
        theirs = np.asarray(load_image(file, "L" if channels == 1 else "RGB"))
        ours = read_image(file, channels).permute(1, 2, 0).numpy()
        is_same = np.array_equal(theirs.reshape(ours.shape), ours)
        assert is_same == (name not in PARTLY_READ), name
