from dataclasses import replace

import numpy as np
import pytest
import yaml
from conftest import SMALL
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynas import SearchSpace, augment, cost, load_arch, load_space
from tinynas.arch.zoo import shipped_networks, shipped_spaces
from tinynas.utils.errors import FileError, InputError

RANGES = {"micro": (0.05e6, 5e6), "mobile32": (3e6, 150e6), "mcu": (5e6, 130e6), "mobile": (60e6, 600e6)}


def genes_of(space):
    return st.fixed_dictionaries({name: st.integers(0, count - 1) for name, count in space.genes().items()})


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_equal_networks_have_equal_encodings(data):
    space = SearchSpace.from_dict(SMALL)
    one, other = data.draw(genes_of(space)), data.draw(genes_of(space))
    # Choices beyond the depth are changed at will: the network and its encoding stay.
    unused = {name: index for name, index in other.items() if name.startswith("stages.0.1.")}
    one["stages.0.depth"] = 0
    assert space.decode(one) == space.decode(one | unused)
    for genes in (one, one | unused, other):
        arch = space.decode(genes)
        assert space.decode(space.encode(arch)) == arch
        assert space.encode(space.decode(space.encode(arch))) == space.encode(arch)
    same = space.decode(one) == space.decode(other)
    assert same == (space.encode(space.decode(one)) == space.encode(space.decode(other)))


def test_rounding_gives_equal_networks_one_encoding():
    plain = {**SMALL, "divisor": 8, "stages": [{"width": [8], "kernel": 3, "expand": [1, 1.2, 2]}]}
    space = SearchSpace.from_dict(plain)
    assert space.decode({"stages.0.0.mid": 0}) == space.decode({"stages.0.0.mid": 1})
    assert space.encode(space.decode({"stages.0.0.mid": 1}))["stages.0.0.mid"] == 0


def test_members(shipped_space, rng):
    smallest, largest = shipped_space.min(), shipped_space.max()
    for arch in (smallest, largest, *(shipped_space.sample(rng) for _ in range(50))):
        assert shipped_space.contains(arch)
        assert shipped_space.decode(shipped_space.encode(arch)) == arch
        for name in ("macs", "params", "peak_sram", "flash"):
            assert getattr(cost(smallest), name) <= getattr(cost(arch), name) <= getattr(cost(largest), name)


def test_pinned_choices_are_at_their_largest(any_space, rng):
    assert any_space.fixed_choices() == any_space
    everything = any_space.fixed_choices("kernel", "depth", "expand", "width")
    assert set(everything.genes()) == {
        name for name in any_space.genes() if name.split(".")[-1] in ("resolution", "se", "act")
    }
    for kinds in (("kernel",), ("depth", "width"), ("expand",)):
        pinned = any_space.fixed_choices(*kinds)
        assert pinned.max() == any_space.max()
        assert all(any_space.contains(pinned.sample(rng)) for _ in range(20))
    largest = [b.kernel for stage in any_space.max().stages for b in stage]
    assert {b.kernel for stage in any_space.fixed_choices("kernel").min().stages for b in stage} == set(largest)
    with pytest.raises(InputError, match="choices are kernel, depth, expand or width"):
        any_space.fixed_choices("kernels")


def test_networks_of_elsewhere_are_not_contained(space):
    assert not space.contains(load_arch("mcunet-in3"))
    assert not space.contains(replace(space.min(), classes=4))
    with pytest.raises(InputError, match=r"resolution is 9, options are \[8, 12\]"):
        space.encode(replace(space.min(), resolution=9))


@pytest.mark.parametrize(("name", "macs"), RANGES.items())
def test_shipped_spaces_cover_their_range(name, macs):
    space = load_space(name)
    assert macs[0] * 0.75 < cost(space.min()).macs < macs[0] * 1.3
    assert macs[1] * 0.75 < cost(space.max()).macs < macs[1] * 1.3


@pytest.mark.parametrize("name", shipped_networks())
def test_an_augmented_space_begins_with_the_target(name):
    target = load_arch(name)
    space = augment(target)
    assert space.min() == target
    assert space.contains(target)


def test_random_archs_can_be_augmented(shipped_space, rng):
    for _ in range(20):
        target = shipped_space.sample(rng)
        space = augment(target, width=[1, 1.5], expand=[1, 2])
        assert space.min() == target
        assert space.max().resolution == target.resolution
        for block, wide in zip(sum(target.stages, ()), sum(space.max().stages, ()), strict=True):
            assert wide.out > block.out
            assert wide.residual == block.residual
            assert (wide.se > 0) == (block.se > 0)


@pytest.mark.parametrize("factors", [[1.2, 2], [1, 1], [2, 1], []])
def test_augmentation_begins_with_one_and_grows(factors):
    with pytest.raises(InputError, match="factors begin with 1 and grow"):
        augment(load_arch("mcunet-in3"), width=factors)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolutions": [8]}, "unknown key in a search space 'resolutions'; did you mean 'resolution'"),
        ({"resolution": [12, 8]}, "resolution options are positive and ascend"),
        ({"resolution": ["big"]}, "resolution in a search space must be a whole number, but is 'big'"),
        ({"divisor": 0}, "divisor >= 1"),
        ({"stages": [{"depth": [1], "kernel": 3}]}, "stage 0 lacks the key 'width'"),
        ({"stages": [{"width": 8}]}, "stage 0 lacks the key 'kernel'"),
        ({"stages": [{"width": 8, "kernel": [3, 3]}]}, "kernel options"),
        ({"stages": [{"width": 8, "kernel": 3, "kernal": 5}]}, "did you mean 'kernel'"),
        ({"stages": [{"width": 8, "kernel": 3, "expand": [0]}]}, "expand options are positive"),
        ({"stages": [{"width": 8, "kernel": 3, "se": [4, 0]}]}, "se goes from small to large"),
        ({"divisor": "8"}, "divisor in a search space must be a whole number, but is '8'"),
        ({"resolution": [8.5]}, "resolution in a search space must be a whole number"),
        ({"stages": [{"depth": [1.5], "width": 8, "kernel": 3}]}, "depth in stage 0 must be a whole number"),
        ({"stages": [{"width": 8, "kernel": 3, "se": ["four"]}]}, "se in stage 0 must be a number"),
        ({"stages": "none"}, "stages must be a list"),
        ({"stem": 8}, "stem must be a mapping"),
    ],
)
def test_a_space_that_is_wrong(change, message):
    with pytest.raises(InputError, match=message):
        SearchSpace.from_dict(SMALL | change)


def test_an_unknown_space_names_the_near_one():
    with pytest.raises(InputError, match="unknown search space 'mirco'; did you mean 'micro'"):
        load_space("mirco")
    with pytest.raises(InputError, match="did you mean 'mcunet-in3'"):
        load_arch("mcunet-in")


def test_an_error_in_a_file_names_the_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(SMALL | {"divisors": 4}))
    with pytest.raises(InputError, match=r"mine\.yaml: unknown key .* did you mean 'divisor'"):
        load_space(path)
    with pytest.raises(FileError, match="No such file"):
        load_space(tmp_path / "other.yaml")


def test_a_space_from_a_file(tmp_path, space):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    assert load_space(path) == space
    assert set(shipped_spaces()) == {"micro", "mobile32", "mcu", "mobile", "detect"}


def test_spread_samples_reach_all_sizes_and_every_option_is_as_likely(space):
    rng = np.random.default_rng(0)
    macs, alike = [], {}
    for spread in (False, True):
        archs = [space.sample(rng, size_balanced=spread) for _ in range(2000)]
        assert all(space.contains(arch) for arch in archs)
        macs.append(np.log([cost(arch).macs for arch in archs]))
        alike[spread] = np.mean([arch.stem.out == space.stem.width[0] for arch in archs])
    assert macs[1].std() > 1.5 * macs[0].std()
    assert abs(alike[False] - 0.5) < 0.05
    assert abs(alike[True] - 0.5) < 0.05
