import pytest

from tinynas.training.recipe import Recipe
from tinynas.utils.errors import InputError


def test_recipe_rate_warms_up_from_0_and_falls_to_0():
    recipe = Recipe(epochs=10, lr=0.4, warmup_epochs=2)
    rates = [recipe.rate(epoch) for epoch in (0, 1, 2, 6, 10)]
    assert rates == pytest.approx([0, 0.2, 0.4, 0.2, 0])
    assert Recipe(epochs=1, lr=1.0, warmup_epochs=5).rate(0.5) == pytest.approx(
        1.0
    )  # at most half of the time is warm-up


def test_recipe_rate_warms_up_from_another_rate_than_0():
    """The authors of NetAug warm up from the rate of one GPU to that of all: 5 epochs, then 150 of cosine."""
    recipe = Recipe(epochs=155, lr=0.4, warmup_epochs=5, warmup_lr=0.025)
    rates = [recipe.rate(epoch) for epoch in (0, 1, 4, 5, 80, 155)]
    assert rates == pytest.approx([0.025, 0.1, 0.325, 0.4, 0.2, 0])


@pytest.mark.parametrize(
    "change",
    [
        {"crop_scale": 0.0},
        {"crop_scale": 1.5},
        {"brightness": -0.1},
        {"epochs": 0},
        {"lr": 0},
        {"lr": -1.0},
        {"momentum": 1.5},
        {"seed": -1},
        {"batch_size": 0},
    ],
)
def test_recipe_refuses_values_out_of_range(change):
    with pytest.raises(InputError, match="must be"):
        Recipe(**change)


@pytest.mark.parametrize("change", [{"precision": "fp8"}, {"augmentation": "wild"}])
def test_recipe_names_an_unknown_choice(change):
    with pytest.raises(InputError, match=r"unknown (precision|augmentation)"):
        Recipe(**change)
