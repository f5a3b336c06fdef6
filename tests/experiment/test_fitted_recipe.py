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


MEASURED = "best or level with the best on networks of 0.08 to 19 parameters for each training image"


def test_reasons_say_whether_such_networks_were_measured(arch):
    largest = load_space("micro-v1").max()
    assert fitted_recipe(arch, images=5_000).reasons == (f"{MEASURED}, as here",)
    assert fitted_recipe(arch, largest, images=10_000).reasons == (f"{MEASURED}, as here",)
    measured, here = fitted_recipe(largest, images=100).reasons
    assert (measured, here) == (
        MEASURED,
        "outside of what was measured: here are 1,489 (149K for 100 images)",
    )
    _, partly = fitted_recipe(arch, largest, images=100).reasons
    assert partly == "partly outside of what was measured: here are 11 to 1,489 (1.15K to 149K for 100 images)"
    _, below = fitted_recipe(arch, images=50_000).reasons
    assert below == "outside of what was measured: here are 0.023 (1.15K for 50,000 images)"
    _, around = fitted_recipe(arch, largest, images=7_000).reasons
    assert around.startswith("partly outside of what was measured: here are 0.16 to 21 ")


def test_named_settings_are_kept_and_not_said():
    recipe = FittedRecipe(settings={"augmentation": "none", "lr": 0.2}, reasons=("so",))
    named = Overrides.read({"augmentation": "strong"}, RetrainConfig)
    config, lines = recipe.complete(named.apply(RetrainConfig()), named)
    assert (config.recipe.augmentation, config.recipe.lr) == ("strong", 0.2)
    assert lines == ("recipe auto: lr 0.2", "recipe auto: so")


def test_nothing_is_said_if_every_setting_was_named():
    recipe = FittedRecipe(settings={"lr": 0.2}, reasons=("so",))
    named = Overrides.read({"lr": 0.05}, RetrainConfig)
    config = named.apply(RetrainConfig())
    assert recipe.complete(config, named) == (config, ())


def test_other_settings_stay(arch):
    recipe = FittedRecipe(settings={"augmentation": "none"}, reasons=("so",))
    config = RetrainConfig(dropout=0.2)
    completed, lines = recipe.complete(config, Overrides())
    assert completed == replace(config, recipe=replace(config.recipe, augmentation="none"))
    assert lines == ("recipe auto: augmentation none", "recipe auto: so")
