"""What every kind of block promises, for archs drawn at random from a space of the kind."""

from dataclasses import replace

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from kinds import rectangular_space_of, space_of, tflite_kinds
from onnx_memory import alive, buffers

from helpers import images_for, trained_supernet
from tinynas import Arch, Supernet, augment, build, cost
from tinynas.arch.block_kinds import SHIPPED, known_kinds
from tinynas.arch.lowering import lower
from tinynas.arch.memory_plan import peak_bytes
from tinynas.models.binding import view
from tinynas.models.profile import recount
from tinynas.utils.errors import InputError

SUPERNETS = {}


def supernet_of(space):
    """A supernet whose weights and statistics are not those of the beginning; made once."""
    if space not in SUPERNETS:
        SUPERNETS[space] = trained_supernet(space)[0]
    return SUPERNETS[space]


@st.composite
def archs(draw, space):
    return space.decode({name: draw(st.integers(0, count - 1)) for name, count in space.genes().items()})


SPACES = {kind: space_of(kind) for kind in SHIPPED} | {
    f"{kind}, not square": rectangular_space_of(kind) for kind in SHIPPED
}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
few = settings(max_examples=8, deadline=None)


@every_space
def test_a_subnet_computes_what_is_extracted(space):
    supernet = supernet_of(space)

    @few
    @given(archs(space))
    def check(arch):
        images = images_for(arch, 3)
        supernet.eval()
        assert torch.equal(supernet(images, arch), supernet.extract(arch)(images))
        supernet.train()
        extracted = supernet.extract(arch)
        assert torch.equal(supernet(images, arch, statistics=False), extracted(images))

    check()


@every_space
def test_counts_are_those_of_fvcore_and_of_the_built_module(space):
    @few
    @given(archs(space))
    def check(arch):
        assert recount(arch) == {"macs": cost(arch).macs, "params": cost(arch).params}

    check()


@every_space
def test_peak_memory_is_what_is_alive_in_the_exported_graph(space):
    @settings(max_examples=3, deadline=None)
    @given(archs(space))
    def check(arch):
        assert cost(arch).peak_sram == max(alive(*buffers(arch))) == peak_bytes(lower(arch))

    check()


@every_space
def test_the_smallest_augmented_network_is_the_target(space):
    @few
    @given(archs(space))
    def check(arch):
        augmented = augment(arch, width=[1, 1.5], expand=[1, 2])
        assert augmented.min() == arch
        assert augmented.contains(arch)
        assert cost(augmented.max()).params > cost(arch).params
        supernet, images = Supernet(augmented).eval(), images_for(arch, 2)
        assert torch.equal(supernet(images, arch), supernet.extract(arch)(images))
        assert supernet(images, augmented.max()).shape == (2, 3)

    check()


@every_space
def test_the_gradient_reaches_the_sliced_weights_only(space):
    supernet = supernet_of(space)

    @few
    @given(archs(space))
    def check(arch):
        supernet.zero_grad()
        supernet(images_for(arch, 4), arch, statistics=False).square().sum().backward()
        shapes = {name: parameter.shape for name, parameter in build(arch).named_parameters()}
        for name, parameter in supernet.net.named_parameters():
            if name not in shapes:
                assert parameter.grad is None or not parameter.grad.any(), name
                continue
            outside = parameter.grad.clone()
            inside = view(outside, shapes[name])
            assert inside.any() or ".key.bias" in name, name  # softmax takes no notice of a key's bias
            inside.zero_()
            assert not outside.any(), name

    check()


@every_space
def test_sorted_channels_compute_the_same(space):
    supernet, _ = trained_supernet(space, steps=1)
    supernet.eval().double()
    largest = supernet.space.max()
    images = images_for(largest, 2).double()
    before, weights = supernet(images, largest), {k: v.clone() for k, v in supernet.state_dict().items()}
    supernet.sort_channels()
    torch.testing.assert_close(supernet(images, largest), before, rtol=1e-9, atol=1e-9)
    moved = [name for name, tensor in supernet.state_dict().items() if not torch.equal(tensor, weights[name])]
    assert any(name.startswith("net.stages.1.1.") for name in moved)


@every_space
def test_archs_are_written_and_encoded(space):
    @few
    @given(archs(space))
    def check(arch):
        assert Arch.from_dict(arch.to_dict()) == Arch.from_dict(yaml.safe_load(arch.to_yaml())) == arch
        assert space.decode(space.encode(arch)) == arch

    check()


def test_all_shipped_kinds_are_known():
    assert set(SHIPPED) <= set(known_kinds())
    assert set(SHIPPED) - set(tflite_kinds()) == {"vit"}


@pytest.mark.parametrize("kind", SHIPPED)
def test_a_block_refuses_impossible_fields(kind):
    block = space_of(kind).max().stages[0][1]
    with pytest.raises(InputError, match="out"):
        replace(block, out=0)
    if block.residual and "residual" in vars(block):
        with pytest.raises(InputError, match="residual must be true or false"):
            replace(block, residual=1)
        with pytest.raises(InputError, match="keeps its channels"):
            block.check(block.out + 1)
