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


@pytest.mark.parametrize(
    "change", [{"epochs": 0}, {"lr": 0}, {"lr": -1.0}, {"momentum": 1.5}, {"seed": -1}, {"batch_size": 0}]
)
def test_recipe_refuses_values_out_of_range(change):
    with pytest.raises(InputError, match="must be"):
        Recipe(**change)


@pytest.mark.parametrize("change", [{"precision": "fp8"}, {"augmentation": "wild"}])
def test_recipe_names_an_unknown_choice(change):
    with pytest.raises(InputError, match=r"unknown (precision|augmentation)"):
        Recipe(**change)
