import json
from dataclasses import replace

import pytest

from helpers import RECIPE, Quiet
from tinynas.experiment.config import RetrainConfig
from tinynas.experiment.plans import RetrainPlan
from tinynas.pipelines import evaluate as evaluate_module
from tinynas.pipelines.retrain import retrain
from tinynas.utils.errors import InputError


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
