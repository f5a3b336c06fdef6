from dataclasses import replace

import pytest

from tinynas import augment, cost, load_arch, load_space
from tinynas.arch.netaug import family_factors
from tinynas.arch.zoo import shipped_networks
from tinynas.utils.errors import InputError


def test_family_factors_are_those_of_the_paper():
    assert family_factors(load_arch("mobilenet-v2-tiny"))[0] == (1.0, 1.8, 2.6)
    assert family_factors(load_arch("mobilenet-v3-large-w0.35"))[0] == (1.0, 2.0, 3.0)
    assert family_factors(load_arch("proxyless-mobile-w0.35"))[0] == (1.0, 1.8, 2.6)
    assert family_factors(load_arch("mcunet-in3"))[0] == (1.0, 1.6, 2.2)


@pytest.mark.parametrize("name", shipped_networks())
def test_augment_begins_with_the_target(name):
    target = load_arch(name)
    space = augment(target)
    assert space.min() == target
    assert space.contains(target)


def test_augment_takes_random_archs(shipped_space, rng):
    for _ in range(20):
        target = shipped_space.sample(rng)
        space = augment(target, width=[1, 1.5], expand=[1, 2])
        assert space.min() == target
        assert space.max().resolution == target.resolution
        for block, wide in zip(sum(target.stages, ()), sum(space.max().stages, ()), strict=True):
            assert wide.out > block.out
            assert wide.residual == block.residual
            assert (getattr(wide, "se", 0) > 0) == (getattr(block, "se", 0) > 0)


def test_augment_keeps_the_padding():
    target = replace(load_arch("mobilenet-v2-tiny"), padding="same")
    space = augment(target)
    assert space.min() == target
    assert space.max().padding == "same"
    assert not space.contains(load_arch("mobilenet-v2-tiny"))


@pytest.mark.parametrize("factors", [[1.2, 2], [1, 1], [2, 1], []])
def test_augment_factors_begin_with_one_and_grow(factors):
    with pytest.raises(InputError, match="factors begin with 1 and grow"):
        augment(load_arch("mcunet-in3"), width=factors)


@pytest.mark.parametrize("name", ["mcunet-in3", "mobilenet-v3-large-w0.35", "detector"])
def test_augmentation_can_begin_at_a_later_stage(name, rng):
    """The stem and the stages before are the target's in all networks, the others and the head as they would be."""
    target = load_space("detect").min() if name == "detector" else load_arch(name)
    whole = augment(target)
    for first in range(1, len(target.stages)):
        space = augment(target, from_stage=first)
        assert space.min() == target
        for arch in (space.max(), space.sample(rng), space.sample(rng)):
            assert (arch.stem, arch.stages[:first]) == (target.stem, target.stages[:first])
            assert arch.stages[first:] != target.stages[first:]
            assert whole.contains(arch)
        assert space.max().stages[first + 1 :] == whole.max().stages[first + 1 :]
        assert space.max().head == whole.max().head
        assert cost(target).macs < cost(space.max()).macs < cost(augment(target, from_stage=first - 1).max()).macs


def test_augmentation_begins_at_a_stage_that_there_is():
    target = load_arch("mcunet-in3")
    for first in (-1, len(target.stages)):
        with pytest.raises(InputError, match=f"begins at stage {first}, but the network has the stages 0 to"):
            augment(target, from_stage=first)
