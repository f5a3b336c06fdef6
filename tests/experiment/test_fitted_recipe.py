"""The recipe that fits a network and its data."""

from dataclasses import replace

import pytest

from tinynas import load_space
from tinynas.experiment.config import RetrainConfig
from tinynas.experiment.fitted_recipe import FittedRecipe, fitted_recipe
from tinynas.utils.overrides import Overrides

MANY, FEW = 10_000_000, 100  # training images


@pytest.fixture
def arch():
    return load_space("micro-v1").min()


@pytest.mark.parametrize(("images", "where"), [(MANY, "outside"), (5_000, "in"), (FEW, "in"), (10, "outside")])
def test_reason_says_whether_such_a_network_was_tried(arch, images, where):
    reason = fitted_recipe(arch, images=images).reason
    assert f"this one is {where} that range: 1.15K for {images:,} images" in reason


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
