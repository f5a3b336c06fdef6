import pytest

from tinynas import load_space
from tinynas.arch.narrowing import narrowed


def test_archs_of_a_narrowed_space_are_archs_of_the_space(any_space, rng):
    counts = {name: int(rng.integers(1, count + 1)) for name, count in any_space.genes().items()}
    space = narrowed(any_space, counts)
    assert space.min() == any_space.min()
    for _ in range(20):
        genes = any_space.encode(space.sample(rng))
        for name, index in genes.items():
            kept = [count for other, count in counts.items() if share_options(name, other)]
            assert index < max(kept), name


def share_options(name, other):
    """Whether two genes are the same, or of the same field of blocks of one stage."""
    (stage, _, field), (other_stage, _, other_field) = parts(name), parts(other)
    return (stage, field) == (other_stage, other_field)


def parts(name):
    """Stage, block and field of a gene: of other genes an empty block."""
    stage, _, rest = name.removeprefix("stages.").partition(".")
    block, _, field = rest.rpartition(".")
    return stage, block, field


def test_all_options_are_kept_if_nothing_is_said(any_space):
    assert narrowed(any_space, {}) == any_space
    assert narrowed(any_space, any_space.genes()) == any_space


@pytest.mark.parametrize(
    ("gene", "count", "field"),
    [
        ("resolution", 1, lambda arch: arch.resolution == 24),
        ("stem.out", 2, lambda arch: arch.stem.out == 12),
        ("stages.0.0.stride", 1, lambda arch: arch.stages[0][0].stride == 2),
        ("stages.3.0.out", 3, lambda arch: arch.stages[3][0].out == 128),
    ],
)
def test_largest_options_are_left_out(gene, count, field):
    space = load_space("micro")
    assert field(narrowed(space, {gene: count}).max())
    others = {name: number for name, number in space.genes().items() if name != gene}
    assert others.items() <= narrowed(space, {gene: count}).genes().items()


def test_depth_decides_how_many_blocks_there_are():
    space = narrowed(load_space("micro-v1"), {"stages.1.depth": 1, "stages.1.0.mid": 2})
    assert len(space.max().stages[1]) == 1
    assert space.genes()["stages.1.0.mid"] == 2
