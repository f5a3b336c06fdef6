"""A supernet that goes on with a part of its weights trains as before."""

import copy

import pytest
import torch

from helpers import trained_supernet
from tinynas import augment
from tinynas.models.shrinking import shrink
from tinynas.utils.errors import InputError


def after_steps(supernet, optimizer, arch, *, steps=3):
    """The target after some more steps."""
    generator = torch.Generator().manual_seed(1)
    supernet.train()
    for _ in range(steps):
        images = torch.randn(8, *arch.input_shape, generator=generator)
        optimizer.zero_grad()
        supernet(images, arch).square().mean().backward()
        optimizer.step()
    return supernet.extract(arch).state_dict()


@pytest.mark.parametrize("factors", [{"width": (1.0,), "expand": (1.0,)}, {"width": (1.0,), "expand": (1.0, 2.0)}])
def test_shrinking_changes_neither_weights_nor_updates(any_space, factors):
    target = any_space.min()
    wide, narrow = augment(target, width=(1.0, 2.0), expand=(1.0, 2.0)), augment(target, **factors)
    supernet, optimizer = trained_supernet(wide)
    before = supernet.extract(narrow.max()).state_dict()
    parameters = list(supernet.parameters())
    expected = after_steps(*copy.deepcopy((supernet, optimizer)), target)
    shrink(supernet, narrow, optimizer)
    assert (supernet.space, supernet.net.arch) == (narrow, narrow.max())
    assert all(new is old for new, old in zip(supernet.parameters(), parameters, strict=True))
    for name, tensor in supernet.net.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    after = after_steps(supernet, optimizer, target)
    for name, tensor in expected.items():
        torch.testing.assert_close(after[name], tensor, rtol=1e-4, atol=1e-5)
    assert not torch.equal(after["stem.conv.weight"], before["stem.conv.weight"])


def test_shrinking_forgets_no_momentum(space):
    """Without it the next steps go elsewhere, so that the test above would see it."""
    target = space.min()
    supernet, optimizer = trained_supernet(augment(target, width=(1.0, 2.0), expand=(1.0,)))
    shrink(supernet, augment(target, width=(1.0,), expand=(1.0,)), optimizer)
    kept = after_steps(*copy.deepcopy((supernet, optimizer)), target)
    optimizer.state.clear()
    others = after_steps(supernet, optimizer, target)
    assert not torch.allclose(kept["stem.conv.weight"], others["stem.conv.weight"], rtol=1e-3, atol=1e-4)


def test_a_supernet_cannot_grow(space):
    target = space.min()
    supernet, optimizer = trained_supernet(augment(target, width=(1.0,), expand=(1.0,)), steps=1)
    with pytest.raises(InputError, match="the arch is not part of the supernet"):
        shrink(supernet, augment(target, width=(1.0, 2.0), expand=(1.0,)), optimizer)
