"""The recipe that fits a network and its data."""

from dataclasses import replace

import pytest

from tinynas import load_space
from tinynas.experiment.config import RetrainConfig
from tinynas.experiment.fitted_recipe import FittedRecipe, fitted_recipe
from tinynas.utils.overrides import Overrides


@pytest.fixture
def arch():
    return load_space("micro-v1").min()


def test_reason_has_the_values(arch):
    assert "here are 0.23: 1.15K for 5,000 images" in fitted_recipe(arch, images=5_000).reason
    largest = load_space("micro-v1").max()
    assert "here are 11 to 1,489: 1.15K to 149K for 100 images" in fitted_recipe(arch, largest, images=100).reason


def test_named_settings_are_kept_and_not_said():
    recipe = FittedRecipe(settings={"augmentation": "none", "lr": 0.2}, reason="so")
    named = Overrides.read({"augmentation": "strong"}, RetrainConfig)
    config, lines = recipe.complete(named.apply(RetrainConfig()), named)
    assert (config.recipe.augmentation, config.recipe.lr) == ("strong", 0.2)
    assert lines == ("recipe auto: lr 0.2", "recipe auto: so")


def test_nothing_is_said_if_every_setting_was_named():
    recipe = FittedRecipe(settings={"lr": 0.2}, reason="so")
    named = Overrides.read({"lr": 0.05}, RetrainConfig)
    config = named.apply(RetrainConfig())
    assert recipe.complete(config, named) == (config, ())


def test_other_settings_stay(arch):
    recipe = FittedRecipe(settings={"augmentation": "none"}, reason="so")
    config = RetrainConfig(dropout=0.2)
    completed, lines = recipe.complete(config, Overrides())
    assert completed == replace(config, recipe=replace(config.recipe, augmentation="none"))
    assert lines == ("recipe auto: augmentation none", "recipe auto: so")
