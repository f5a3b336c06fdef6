from dataclasses import replace

import pytest

from helpers import RECIPE
from tinynas import augment, load_arch
from tinynas.experiment.config import Distillation, NetAug, RetrainConfig, SupernetConfig
from tinynas.training.recipe import Recipe
from tinynas.utils.errors import InputError


def test_supernet_config_frees_one_kind_of_choice_after_the_other():
    config = SupernetConfig(progressive_shrinking=True, largest_warmup_epochs=2, recipe=Recipe(epochs=10))
    assert [len(config.fixed_choices(epoch)) for epoch in range(2, 10)] == [3, 3, 2, 2, 1, 1, 0, 0]
    assert config.fixed_choices(2) == ("depth", "expand", "width")
    assert SupernetConfig(recipe=Recipe(epochs=3)).fixed_choices(0) == ()
    with pytest.raises(InputError, match="--largest-warmup-epochs is 3, but must be below --epochs, which is 3"):
        SupernetConfig(largest_warmup_epochs=3, recipe=Recipe(epochs=3))


def test_netaug_augments_widths_in_the_first_half_only():
    wide, deep, none = (1.0, 1.8, 2.6), (1.0, 1.6, 2.2, 2.8), (1.0,)
    assert [NetAug().factors(part / 5) for part in range(5)] == [(wide, deep)] * 3 + [(none, none)] * 2
    netaug = NetAug(width_until=0.2, expand_until=0.8)
    assert [netaug.factors(part / 5)[1] for part in range(5)] == [deep] * 4 + [none]
    assert [netaug.factors(part / 5)[0] for part in range(5)] == [wide] + [none] * 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NetAug(width=(1.0,), expand=(1.0,)), "augment nothing; add a factor above 1"),
        (lambda: NetAug(width=(1.0,), sort=True), "sort needs augmented widths"),
        (lambda: NetAug(alpha=float("inf")), "alpha must be at least 0 and finite, but is inf"),
        (
            lambda: Distillation(teacher="t", temperature=float("inf")),
            "temperature must be above 0 and finite, but is inf",
        ),
        (
            lambda: RetrainConfig(distillation=Distillation(teacher="t", teach_augmented=True)),
            "teach_augmented has no effect without NetAug; add --netaug",
        ),
        (lambda: replace(RECIPE, lr=float("inf")), "lr must be above 0 and finite, but is inf"),
        (lambda: replace(RECIPE, batch_size=1), "batch_size must be at least 2, but is 1"),
        (
            lambda: replace(RECIPE, freeze_epochs=RECIPE.epochs + 1),
            r"--freeze-epochs is \d+, but must be at most --epochs, which is \d+",
        ),
        (lambda: augment(load_arch("mcunet-in3"), width=(1.0, float("nan"))), "width factors begin with 1"),
        (lambda: augment(load_arch("mcunet-in3"), expand=(1.0, float("inf"))), "expand factors begin with 1"),
    ],
)
def test_config_refuses_settings_without_sense(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    "change", [{"alpha": -1.0}, {"every": 0}, {"num_augmented": 0}, {"width_until": 1.5}, {"expand_until": -0.1}]
)
def test_config_refuses_settings_out_of_range(change):
    with pytest.raises(InputError, match="must be"):
        NetAug(**change)
    for wrong in ({"dropout": 1.0}, {"dropout": -0.1}):
        with pytest.raises(InputError, match="dropout must be at least 0 and below 1"):
            RetrainConfig(**wrong)
    for wrong in ({"teacher_weight": 1.1}, {"temperature": 0.0}):
        with pytest.raises(InputError, match="must be"):
            Distillation(teacher="supernet", **wrong)


def test_a_divergence_needs_inplace_distillation():
    with pytest.raises(InputError, match="inplace_divergence is alpha, which has no effect without"):
        NetAug(inplace_divergence="alpha")
    assert NetAug(inplace_divergence="alpha", inplace_distillation=0.5).inplace_divergence == "alpha"
