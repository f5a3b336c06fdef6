"""`tinynas retrain --recipe` and `--dry-run`."""

import json
import re

import pytest
import yaml

from helpers import ROOT, TINY, image_folder_of, model_of
from tinynas import load, load_arch
from tinynas.models.model_file import save_model


@pytest.fixture
def imagenet(tmp_path):
    """40 images in ImageNet's layout."""
    return f"imagefolder:{image_folder_of(tmp_path)}"


@pytest.fixture
def small_recipe(tmp_path):
    """A recipe like that of MCUNet, of a network that trains at once."""
    plain = yaml.safe_load((ROOT / "recipes" / "imagenet-netaug-mcunet.yaml").read_text())
    plain["arch"] = {**TINY.to_dict(), "resolution": 16}
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(plain))
    return path


def test_retrain_by_a_recipe_needs_only_data(tinynas, imagenet, small_recipe, tmp_path):
    code, out, err = tinynas("retrain", "--recipe", small_recipe, "--data", imagenet, "--epochs", "2")
    assert code == 0, err
    assert "trains on all 32 training images, search-val included" in out
    (folder,) = (tmp_path / "runs").glob("*-small/retrain/netaug")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert (config["recipe"]["batch_size"], config["recipe"]["crop_scale"], config["residual_gain"]) == (2048, 0.08, 1)
    assert load(folder / "model.safetensors").arch.classes == 2
    tinynas("retrain", "--recipe", folder / "config.yaml", "--data", imagenet, "--name", "again")
    assert list((tmp_path / "runs").glob("*-config/retrain/again/model.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["imagenet-netaug-mcunet", "imagenet-netaug-mobilenet-v3-large-w0.35"])
def test_retrain_by_a_shipped_recipe_trains_on_images_in_imagenets_layout(tinynas, imagenet, name):
    code, out, err = tinynas("retrain", "--recipe", name, "--data", imagenet, "--epochs", "2", "--json")
    assert code == 0, err
    metrics = json.loads(out)
    assert (metrics["epochs"], metrics["netaug"], metrics["init"]) == (2, True, "kaiming-uniform")


def fields_of(out):
    return {field["name"]: field for field in json.loads(out)["fields"]}


def test_dry_run_prints_every_setting_beside_the_authors_and_writes_nothing(tinynas, tmp_path):
    words = ("--recipe", "imagenet-netaug-mcunet", "--data", "imagefolder:nowhere", "--epochs", "2", "--dry-run")
    code, out, err = tinynas("retrain", *words)
    assert code == 0, err
    assert not list(tmp_path.iterdir())
    lines = out.splitlines()
    assert lines[0] == f"Retraining on imagefolder:{tmp_path}/nowhere, resolved"
    (lr,) = (line for line in lines if line.startswith("recipe.lr"))
    assert re.split(r" {2,}", lr) == [
        "recipe.lr",
        "0.4",
        "0.4",
        "base_lr 0.0125 x 32 GPUs (train.py, bash/imagenet/mcunet.sh)",
    ]
    (epochs,) = (line for line in lines if line.startswith("recipe.epochs"))
    assert re.split(r" {2,}", epochs)[:4] == ["recipe.epochs", "2", "155", "differs"]
    assert "differs: recipe.epochs (2; theirs: 155): epochs count the warm-up here" in lines
    assert any(line.startswith("differs: batch norm in training (over the images of a process;") for line in lines)
    assert lines[-1] == "nothing was trained or written"
    code, out, _ = tinynas("retrain", *words, "--json")
    fields = fields_of(out)
    assert fields["recipe.epochs"]["differs"]
    assert {"recipe.backend", "netaug.sort", "images of an evaluation"} <= set(fields)
    assert json.loads(out)["network"] == load_arch("mcunet-in3").to_dict()


def test_dry_run_without_a_recipe_prints_the_settings_alone(tinynas, tmp_path):
    code, out, _ = tinynas("retrain", "mcunet-in3", "--netaug", "--dry-run")
    assert code == 0
    assert "authors" not in out
    assert re.search(r"netaug.width +1,1.6,2.2\n", out)
    assert re.search(
        r"recipe.crop_scale +0.25 for image files; images in memory are shifted by some pixels instead\n", out
    )
    assert not list(tmp_path.iterdir())


def test_dry_run_says_if_the_network_is_another(tinynas):
    _, out, _ = tinynas("retrain", "mobilenet-v2-tiny", "--recipe", "imagenet-netaug-mcunet", "--dry-run")
    assert "the network is not that of the recipe imagenet-netaug-mcunet" in out
    assert "differs: arch.resolution (144; theirs: 176)" in out
    _, out, _ = tinynas("retrain", "--recipe", "imagenet-netaug-mcunet", "--dry-run")
    assert "the network is not" not in out


def test_recipe_of_transfer_needs_a_model(tinynas, fails, imagenet, tmp_path):
    name = "transfer-pets-mobilenet-v2-tiny"
    assert f"the recipe {name} trains a model further; add --from MODEL" in fails(
        "retrain", "--recipe", name, "--dry-run"
    )
    classes = tuple(f"class {number}" for number in range(1000))
    save_model(tmp_path / "model.safetensors", model_of(load_arch("mobilenet-v2-tiny"), classes=classes))
    words = ("--from", "model.safetensors", "--recipe", name, "--data", imagenet)
    code, out, err = tinynas("retrain", *words, "--dry-run", "--json")
    assert code == 0, err
    fields = fields_of(out)
    assert fields["init"]["here"].endswith("/model.safetensors")
    assert [field["name"] for field in fields.values() if field["differs"] and field["is_setting"]] == ["keep"]
    assert [path.name for path in tmp_path.iterdir() if path.name == "runs"] == []


def test_options_and_config_override_a_recipe(tinynas, small_recipe, tmp_path):
    (tmp_path / "mine.yaml").write_text("epochs: 7\nlr: 0.3\n")
    words = ("--recipe", small_recipe, "--config", "mine.yaml", "--lr", "0.2", "--dry-run", "--json")
    _, out, _ = tinynas("retrain", *words)
    fields = fields_of(out)
    values = [fields[name]["here"] for name in ("recipe.epochs", "recipe.lr", "recipe.batch_size")]
    assert values == ["7", "0.2", "2048"]


def test_search_refuses_crops_of_images_with_boxes_before_it_writes(fails, tmp_path):
    message = fails("search", "--task", "detect", "--crop-scale", "0.1", "--run", "run")
    assert "crop_scale is 0.1, but images with boxes are magnified and moved instead; remove it" in message
    assert not (tmp_path / "run").exists()
