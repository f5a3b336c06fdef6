import json
from dataclasses import replace

import pytest
import torch

from helpers import RECIPE, Quiet, model_of
from tinynas.data.memory import MemorySplit
from tinynas.experiment.config import RetrainConfig
from tinynas.experiment.plans import RetrainPlan
from tinynas.models.model_file import save_model
from tinynas.pipelines import evaluate as evaluate_module
from tinynas.pipelines.retrain import retrain
from tinynas.utils.errors import InputError


def test_evaluate_takes_only_images_of_as_many_colours(watched, space, tmp_path):
    colour = model_of(replace(space.min(), in_channels=3), classes=watched.classes)
    save_model(tmp_path / "colour.safetensors", colour)
    with pytest.raises(InputError, match=r"same number of input channels: .* has 3, digits has 1; name another"):
        evaluate_module.evaluate(tmp_path / "colour.safetensors", "digits")


def test_evaluate_takes_only_data_of_the_models_classes(watched, space, tmp_path, monkeypatch):
    retrain(RetrainPlan(folder=tmp_path / "r", arch=space.min(), config=RetrainConfig(recipe=RECIPE)), report=Quiet())
    result = evaluate_module.evaluate(tmp_path / "r" / "model.safetensors", None).evaluation
    assert result.accuracy == json.loads((tmp_path / "r" / "metrics.json").read_text())["accuracy"]
    assert sum(result.by_class.values()) / 3 == pytest.approx(result.accuracy)
    monkeypatch.setattr(
        "tinynas.pipelines.model_data.load_data", lambda name, **settings: replace(watched, classes=("a", "b"))
    )
    with pytest.raises(InputError, match=r"has 3 classes \(a, b, c\), small has 2 classes \(a, b\)"):
        evaluate_module.evaluate(tmp_path / "r" / "model.safetensors", "small")


def test_evaluate_draws_the_confusion_matrix_of_a_classifier(watched, space, tmp_path):
    retrain(RetrainPlan(folder=tmp_path / "r", arch=space.min(), config=RetrainConfig(recipe=RECIPE)), report=Quiet())
    report = evaluate_module.evaluate(tmp_path / "r" / "model.safetensors", None, plots=tmp_path / "new" / "plots")
    assert [file.name for file in (tmp_path / "new" / "plots").iterdir()] == ["confusion.png"]
    errors = report.to_dict()["errors"]
    assert list(errors) == ["classes", "confusion"]
    assert errors["classes"] == list(watched.classes)
    for name, number in (("a", 0), ("b", 1), ("c", 2)):
        row = errors["confusion"][number]
        assert 100 * row[number] / sum(row) == pytest.approx(report.evaluation.by_class[name])
    assert evaluate_module.evaluate(tmp_path / "r" / "model.safetensors", None).errors is None


def test_retrain_and_evaluate_with_a_class_without_test_images(data, space, tmp_path, monkeypatch):
    """Of the test images of the classes a, b and c those of c are gone, and half of those of b."""
    numbers, labels = torch.arange(30), data.test.labels
    kept = (labels == 0) | (labels == 1) & (numbers % 2 == 1)
    few = replace(data, test=MemorySplit(images=data.test.images[kept], labels=labels[kept]))
    for module in ("retraining", "model_data"):
        monkeypatch.setattr(f"tinynas.pipelines.{module}.load_data", lambda name, **settings: few)
    retrain(RetrainPlan(folder=tmp_path / "r", arch=space.min(), config=RetrainConfig(recipe=RECIPE)), report=Quiet())
    metrics = json.loads((tmp_path / "r" / "metrics.json").read_text())
    by_class = metrics["by_class"]
    assert by_class["c"] is None
    assert metrics["accuracy"] == pytest.approx((10 * by_class["a"] + 5 * by_class["b"]) / 15)
    assert metrics["balanced_accuracy"] == pytest.approx((by_class["a"] + by_class["b"]) / 2)
    assert metrics["chance"]["accuracy"] == pytest.approx(100 * 10 / 15)
    report = evaluate_module.evaluate(tmp_path / "r" / "model.safetensors", None).to_dict()
    for key in ("accuracy", "balanced_accuracy", "by_class", "chance"):
        assert report[key] == metrics[key]
