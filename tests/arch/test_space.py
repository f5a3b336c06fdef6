from dataclasses import replace

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import SMALL
from tinynas import SearchSpace, cost, load_arch
from tinynas.arch.cost import quick_cost
from tinynas.experiment.space_file import space_to_yaml
from tinynas.utils.errors import InputError


def genes_of(space):
    return st.fixed_dictionaries({name: st.integers(0, count - 1) for name, count in space.genes().items()})


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_space_encodes_equal_networks_alike(data):
    space = SearchSpace.from_dict(SMALL)
    first, second = data.draw(genes_of(space)), data.draw(genes_of(space))
    # Choices beyond the depth are changed at will: the network and its encoding stay.
    unused = {name: index for name, index in second.items() if name.startswith("stages.0.1.")}
    first["stages.0.depth"] = 0
    assert space.decode(first) == space.decode(first | unused)
    for genes in (first, first | unused, second):
        arch = space.decode(genes)
        assert space.decode(space.encode(arch)) == arch
        assert space.encode(space.decode(space.encode(arch))) == space.encode(arch)
    same = space.decode(first) == space.decode(second)
    assert same == (space.encode(space.decode(first)) == space.encode(space.decode(second)))


def test_space_encodes_networks_that_are_equal_by_rounding_alike():
    plain = {**SMALL, "divisor": 8, "stages": [{"width": [8], "kernel": 3, "expand": [1, 1.2, 2]}]}
    space = SearchSpace.from_dict(plain)
    assert space.decode({"stages.0.0.mid": 0}) == space.decode({"stages.0.0.mid": 1})
    assert space.encode(space.decode({"stages.0.0.mid": 1}))["stages.0.0.mid"] == 0


def test_space_chooses_strides():
    plain = {**SMALL, "stages": [{"width": [8, 12], "kernel": 3, "expand": 2, "depth": 2, "strides": [2, 1]}]}
    space = SearchSpace.from_dict(plain)
    assert space.genes()["stages.0.0.stride"] == 2
    assert [block.stride for block in space.min().stages[0]] == [2, 1]
    assert [block.stride for block in space.max().stages[0]] == [1, 1]
    assert SearchSpace.from_dict(yaml.safe_load(space_to_yaml(space))) == space
    pairs = SearchSpace.from_dict({**plain, "stages": [{**plain["stages"][0], "strides": [[2, 2], [1, 2], 1]}]})
    assert [pairs.decode({"stages.0.0.stride": index}).stages[0][0].stride for index in range(3)] == [2, (1, 2), 1]


def test_space_contains_and_bounds_its_members(shipped_space, rng):
    smallest, largest = shipped_space.min(), shipped_space.max()
    for arch in (smallest, largest, *(shipped_space.sample(rng) for _ in range(50))):
        assert shipped_space.contains(arch)
        assert shipped_space.decode(shipped_space.encode(arch)) == arch
        for name in ("macs", "params", "peak_sram", "flash"):
            assert getattr(cost(smallest), name) <= getattr(cost(arch), name) <= getattr(cost(largest), name)


def test_space_middle_has_the_middle_option_of_every_gene(shipped_space):
    middle = shipped_space.encode(shipped_space.middle())
    depths = {gene: middle[gene] for gene in middle if gene.endswith(".depth") or gene == "resolution"}
    assert depths == {gene: (shipped_space.genes()[gene] - 1) // 2 for gene in depths}
    assert shipped_space.contains(shipped_space.middle())


def test_space_fixed_choices_are_at_their_largest(any_space, rng):
    assert any_space.fixed_choices() == any_space
    everything = any_space.fixed_choices("kernel", "depth", "expand", "width")
    assert set(everything.genes()) == {
        name for name in any_space.genes() if name.split(".")[-1] in ("resolution", "se", "act", "stride")
    }
    for kinds in (("kernel",), ("depth", "width"), ("expand",)):
        pinned = any_space.fixed_choices(*kinds)
        assert pinned.max() == any_space.max()
        assert all(any_space.contains(pinned.sample(rng)) for _ in range(20))
    largest = [b.kernel for stage in any_space.max().stages for b in stage]
    assert {b.kernel for stage in any_space.fixed_choices("kernel").min().stages for b in stage} == set(largest)
    with pytest.raises(InputError, match="choices are kernel, depth, expand or width"):
        any_space.fixed_choices("kernels")


def test_space_does_not_contain_other_networks(space):
    assert not space.contains(load_arch("mcunet-in3"))
    assert not space.contains(replace(space.min(), classes=4))
    with pytest.raises(InputError, match=r"resolution is 9, options are \[8, 12\]"):
        space.encode(replace(space.min(), resolution=9))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolutions": [8]}, "unknown key in a search space 'resolutions'; did you mean 'resolution'"),
        ({"resolution": [12, 8]}, r"resolution must be positive and ascend, but is \[12, 8\]"),
        ({"resolution": ["big"]}, "resolution in a search space must be a positive whole number or .*, but is 'big'"),
        ({"divisor": 0}, "divisor >= 1"),
        ({"stages": [{"depth": [1], "kernel": 3}]}, "stage 0 lacks the key 'width'"),
        ({"stages": [{"width": 8}]}, "stage 0 lacks the key 'kernel'"),
        (
            {"stages": [{"width": 8, "kernel": [3, 3]}]},
            r"kernel in stage 0 must be positive and ascend, but is \[3, 3\]",
        ),
        ({"stages": [{"width": 8, "kernel": 3, "kernal": 5}]}, "did you mean 'kernel'"),
        (
            {"stages": [{"width": 8, "kernel": 3, "expand": [0]}]},
            r"expand in stage 0 must be positive and ascend, but is \[0\]",
        ),
        ({"stages": [{"width": 8, "kernel": 3, "se": [4, 0]}]}, r"se in stage 0 must be 0, .* but is \[4, 0\]"),
        ({"stages": [{"width": 8, "kernel": 3, "se": [-4]}]}, r"se in stage 0 must be 0, .* but is \[-4\]"),
        ({"stages": [{"width": 8, "kernel": [3, 4, 5]}]}, "stage 0: kernel must be an odd whole .*, but is 4"),
        ({"stages": [{"width": 8, "kernel": [[3, 4]]}]}, r"stage 0: kernel must be .* a pair of them, but is \[3, 4\]"),
        ({"stages": [{"width": 8, "kernel": [[3, 5], [5, 3]]}]}, r"but is \[\[3, 5\], \[5, 3\]\]; a pair of"),
        ({"stages": [{"width": 8, "kernel": 3, "act": ["relu", "mish", "relu6"]}]}, "stage 0: unknown .* act 'mish'"),
        ({"stages": [{"kind": "vit", "heads": 1, "expand": 1, "stride": [1, 2]}]}, r"stage 0: .* but is \[1, 2\]"),
        ({"stages": [{"width": 8, "kernel": 3, "strides": [1, 2]}]}, r"strides in stage 0 must fall, .* are \[1, 2\]"),
        ({"stages": [{"width": 8, "kernel": 3, "strides": []}]}, r"strides in stage 0 must fall, .* are \[\]"),
        ({"stages": [{"width": 8, "kernel": 3, "strides": [2, 0]}]}, "stride in stage 0 must be .*, but is 0"),
        ({"stages": [{"width": 8, "kernel": 3, "stride": 2, "strides": [2, 1]}]}, "has stride and strides; remove one"),
        ({"stages": [{"kind": "vit", "heads": 1, "expand": 1, "strides": [2, 1]}]}, "stage 0: .* stride"),
        ({"stem": {"width": 8, "kernel": 4}}, "stem: kernel must be an odd"),
        ({"head": {"act": "mish"}}, "head: unknown activation in act 'mish'"),
        ({"resolution": [[16, 4096]]}, "resolution <= 2048"),
        ({"divisor": "8"}, "divisor in a search space must be a whole number, but is '8'"),
        ({"resolution": [8.5]}, "resolution in a search space must be a positive whole number"),
        ({"stages": [{"depth": [1.5], "width": 8, "kernel": 3}]}, "depth in stage 0 must be a whole number"),
        ({"stages": [{"width": 8, "kernel": 3, "se": ["four"]}]}, "se in stage 0 must be a number"),
        ({"stages": "none"}, "stages must be a list"),
        ({"stem": 8}, "stem must be a mapping"),
    ],
)
def test_space_from_dict_refuses_wrong_descriptions(change, message):
    with pytest.raises(InputError, match=message):
        SearchSpace.from_dict(SMALL | change)


def test_space_size_balanced_samples_reach_all_sizes_with_every_option_as_likely(space):
    rng = np.random.default_rng(0)
    macs, narrow_fraction = [], {}
    for size_balanced in (False, True):
        archs = [space.sample(rng, size_balanced=size_balanced) for _ in range(2000)]
        assert all(space.contains(arch) for arch in archs)
        macs.append(np.log([cost(arch).macs for arch in archs]))
        narrow_fraction[size_balanced] = np.mean([arch.stem.out == space.stem.width[0] for arch in archs])
    assert macs[1].std() > 1.5 * macs[0].std()
    assert abs(narrow_fraction[False] - 0.5) < 0.05
    assert abs(narrow_fraction[True] - 0.5) < 0.05


def test_space_has_archs_of_its_padding_only(any_space, rng):
    same = replace(any_space, padding="same")
    for arch in (same.min(), same.max(), same.sample(rng), same.sample(rng, size_balanced=True)):
        assert arch.padding == "same"
        assert same.decode(same.encode(arch)) == arch
        assert any_space.contains(replace(arch, padding="symmetric"))
        assert not same.contains(replace(arch, padding="symmetric"))
        assert not any_space.contains(arch)
        assert quick_cost(arch) == quick_cost(replace(arch, padding="symmetric"))
    assert same.genes() == any_space.genes()


def test_space_reads_its_padding():
    assert SearchSpace.from_dict(SMALL).padding == "symmetric"
    assert SearchSpace.from_dict({**SMALL, "padding": "same"}).max().padding == "same"
    with pytest.raises(InputError, match="unknown padding 'valid'; known: same, symmetric"):
        SearchSpace.from_dict({**SMALL, "padding": "valid"})
    with pytest.raises(InputError, match="padding in a search space must be text"):
        SearchSpace.from_dict({**SMALL, "padding": ["same"]})
