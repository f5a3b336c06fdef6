"""What spaces.py compares: hand-written networks, and searched ones that are no larger."""

import pytest
import torch

from tinynas import Arch, cost, load_space
from tinynas.data.registry import DATA_SETS, load_data


@pytest.fixture
def spaces(load_script, monkeypatch):
    """The script, on few training images of digits; its data set is forgotten afterwards."""
    module = load_script("spaces")
    monkeypatch.setattr(module, "DATA", "digits")
    monkeypatch.setattr(module, "TRAIN_IMAGES", 64)
    monkeypatch.setitem(DATA_SETS, module.PART, module.part_of_data)
    return module


@pytest.mark.parametrize("space", ["ds-cnn", "vit-tiny"])
def test_networks_by_hand_have_equal_blocks_and_are_in_the_space(load_script, space):
    arch = load_script("spaces").BY_HAND[space]()
    assert load_space(space).contains(arch)
    widths = {arch.stem.out} | {block.out for stage in arch.stages for block in stage}
    assert len(widths) == 1


@pytest.mark.parametrize("space", ["ds-cnn", "vit-tiny"])
def test_searched_networks_are_no_larger(load_script, space):
    from common.cells import Cells

    by_hand = cost(load_script("spaces").BY_HAND[space]())
    searched = Arch.from_dict(Cells("spaces").read()[f"search {space}"]["arch"])
    assert load_space(space).contains(searched)
    assert cost(searched).macs <= by_hand.macs
    assert cost(searched).params <= by_hand.params


def test_part_of_data_has_fewer_training_images_and_all_others(spaces):
    whole, part = load_data("digits"), spaces.part_of_data(None)
    assert len(part.train) == 64
    assert torch.equal(part.val.labels, whole.val.labels)
    assert torch.equal(part.test.labels, whole.test.labels)


def test_both_networks_are_trained_alike_with_the_same_seeds(spaces, results, monkeypatch):
    from common.cells import Cells

    monkeypatch.setattr(spaces, "EPOCHS", 1)
    monkeypatch.setattr(spaces, "TRIALS", 2)
    monkeypatch.setattr(spaces, "SEEDS", range(2))
    monkeypatch.setattr(spaces, "BY_HAND", {"ds-cnn": spaces.ds_cnn})
    configs = {}

    def train(arch, config):
        configs.setdefault(arch, []).append(config)
        return {"macs": cost(arch).macs, "params": cost(arch).params, "accuracy": float(config.recipe.seed)}

    monkeypatch.setattr(spaces, "retrain_network", lambda folder, arch, config: train(arch, config))
    spaces.measure(Cells("spaces"))
    by_hand = spaces.ds_cnn()
    searched = Arch.from_dict(Cells("spaces").read()["search ds-cnn"]["arch"])
    assert configs[by_hand] == configs[searched]
    assert [config.recipe.seed for config in configs[searched]] == [0, 1]
    (table,) = spaces.tables(Cells("spaces").read())
    assert [row[1] for row in table.rows] == ["by hand", "searched"]
    assert [row[4] for row in table.rows] == ["0.50 ± 0.71"] * 2
