from dataclasses import replace

import pytest

from tinynas.experiment.config import NetAug, RetrainConfig, SupernetConfig
from tinynas.experiment.search_settings import SearchSettings
from tinynas.training.recipe import Recipe
from tinynas.utils import settings
from tinynas.utils.errors import InputError


def test_rows_have_defaults_by_task():
    rows = {row.key: row for row in settings.rows(RetrainConfig)}
    epochs = rows["recipe.epochs"]
    assert (epochs.flag, epochs.default, epochs.unit) == ("--epochs", "20", "epochs")
    assert epochs.variants == {"detection": "24"}
    assert rows["netaug.expand"].default == "1,1.6,2.2,2.8"
    assert rows["recipe.weight_decay"].default == "4e-05"
    assert (rows["netaug"].default, rows["netaug"].variants) == ("off", {})
    assert rows["distillation.teacher"].default == ""


@pytest.mark.parametrize("config", [SupernetConfig(), RetrainConfig(), SearchSettings(), Recipe(), NetAug()])
def test_check_settings_refuses_wrong_types_bounds_and_choices(config):
    """A value beyond a bound, not among the choices, or of another type."""
    for setting in settings.settings_of(type(config)):
        if "." in setting.path or setting.is_switch or (setting.path == "distillation" and setting.type is bool):
            continue
        wrong = [object()]
        if setting.info.choices:
            wrong.append("nonsense")
        if setting.type in (int, float):
            wrong.append(float("nan") if setting.type is float else True)
            wrong.append("1")
            wrong.append(-1 if setting.info.minimum >= 0 or setting.info.above >= 0 else None)
        for value in wrong:
            with pytest.raises(InputError):
                replace(config, **{setting.path: value})
