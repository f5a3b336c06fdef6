"""The recipe that fits a network and its data."""

from dataclasses import replace

import pytest

from tinynas import cost, load_space
from tinynas.experiment.config import RetrainConfig
from tinynas.experiment.fitted_recipe import FittedRecipe, fitted_recipe
from tinynas.utils.overrides import Overrides

MANY, FEW = 10_000_000, 100  # training images


@pytest.fixture
def arch():
    return load_space("micro-v1").min()


def test_more_parameters_for_each_image_mean_more_augmentation(arch):
    parameters = cost(arch).params
    strengths = ("none", "light", "standard")
    chosen = []
    for images in (MANY, 10 * parameters, 2 * parameters, FEW):
        chosen.append(strengths.index(fitted_recipe(arch, images=images).settings["augmentation"]))
    assert chosen == sorted(chosen)
    assert (chosen[0], chosen[-1]) == (0, 2)


def test_reason_has_the_values(arch):
    reason = fitted_recipe(arch, images=MANY).reason
    assert "10,000,000 training images" in reason
    assert "1.15K parameters" in reason


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
