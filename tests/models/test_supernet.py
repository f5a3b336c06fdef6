import copy
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch.nn.functional import cross_entropy

from helpers import images_for, model_of, trained_supernet
from tinynas import Supernet, augment, load_arch
from tinynas.models.supernet import extract_calibrated, view
from tinynas.pipelines.run_supernet import read_supernet
from tinynas.utils.errors import InputError


def test_extract_calibrated_sets_the_networks_own_statistics(searched, watched):
    supernet = read_supernet(searched, watched)
    arch = replace(supernet.space.min(), resolution=12)
    net = extract_calibrated(supernet, arch, watched.calibration_batches(12))
    images = torch.cat(watched.calibration_batches(12))
    maps = net.stem.conv(images)
    torch.testing.assert_close(net.stem.norm.running_mean, maps.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)


def test_supernet_keeps_statistics_in_augmented_passes(space, rng):
    target = replace(space.min(), resolution=12)
    supernet = Supernet(augment(target, width=[1, 2], expand=[1, 2])).train()
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    images = torch.randn(4, 1, 12, 12)
    for arch in (supernet.space.max(), supernet.space.sample(rng)):
        supernet(images, arch, statistics=False).sum().backward()
    assert all(torch.equal(before[name], tensor) for name, tensor in supernet.state_dict().items())
    supernet(images, target)
    assert not torch.equal(before["net.stem.norm.running_mean"], supernet.net.stem.norm.running_mean)
    supernet.eval()
    assert torch.equal(supernet(images, target, statistics=False), supernet(images, target))


@pytest.mark.parametrize("training", [False, True])
def test_supernet_runs_a_subnet_as_it_is_extracted(shipped_space, rng, training):
    supernet, _ = trained_supernet(shipped_space, steps=1)
    supernet.train(training)
    for arch in [shipped_space.min(), shipped_space.max(), *(shipped_space.sample(rng) for _ in range(2))]:
        net = supernet.extract(arch)
        images = torch.randn(2, arch.in_channels, arch.resolution, arch.resolution)
        assert torch.equal(supernet(images, arch), net(images))


def test_supernet_extracts_every_kind_of_choice(any_space, rng):
    supernet, _ = trained_supernet(any_space)
    supernet.eval()
    for _ in range(40):
        arch = any_space.sample(rng)
        images = torch.randn(2, 1, arch.resolution, arch.resolution)
        assert torch.equal(supernet(images, arch), supernet.extract(arch)(images))


def test_supernet_extracts_archs_of_padding_same(any_space, rng):
    space = replace(any_space, padding="same")
    supernet, _ = trained_supernet(space)
    for training in (False, True):
        supernet.train(training)
        for arch in [space.min(), space.max(), *(space.sample(rng) for _ in range(5))]:
            images = torch.randn(2, 1, arch.resolution, arch.resolution)
            net = supernet.extract(arch)
            assert net.arch == arch
            assert torch.equal(supernet(images, arch), net(images))


@pytest.mark.parametrize("paddings", list(product(["symmetric", "same"], repeat=2)))
def test_supernet_adopts_kernels_as_they_look_on_upright_images(any_space, paddings):
    """At 33 px, where no size that a stride reads is even, paddings make no difference to what they compute."""
    theirs, own = (replace(any_space.max(), resolution=33, padding=padding) for padding in paddings)
    model = model_of(theirs)
    supernet = Supernet(augment(own, width=[1, 2], expand=[1, 2])).eval()
    supernet.adopt(model.net)
    images = images_for(own, 2)
    with torch.no_grad():
        torch.testing.assert_close(supernet(images, own), model.net(images), rtol=1e-4, atol=1e-5)


def test_supernet_mode_applies_to_subnets_that_share_blocks(space, rng):
    supernet, _ = trained_supernet(space)
    for training in (True, False, True):
        supernet.train(training)
        for arch in (space.min(), *(space.sample(rng) for _ in range(10))):
            images = torch.randn(2, 1, arch.resolution, arch.resolution)
            net = supernet.extract(arch)
            assert torch.equal(supernet(images, arch), net(images))


def test_supernet_updates_statistics_through_views(space):
    supernet, _ = trained_supernet(space)
    supernet.train()
    smallest = space.min()
    own = supernet.extract(smallest)
    images = torch.randn(4, 1, smallest.resolution, smallest.resolution)
    before = supernet.net.stem.norm.running_mean.clone()
    supernet(images, smallest)
    own(images)
    after, channels = supernet.net.stem.norm.running_mean, smallest.stem.out
    assert torch.equal(after[:channels], own.stem.norm.running_mean)
    assert torch.equal(after[channels:], before[channels:])


def test_supernet_weights_are_trained_through_a_subnet(space, rng):
    supernet, _ = trained_supernet(space)
    supernet.zero_grad()
    smallest = space.min()
    supernet(torch.randn(2, 1, smallest.resolution, smallest.resolution), smallest).sum().backward()
    weight = supernet.net.stages[1][0].depthwise.conv.weight  # (24, 1, 7, 7), of which 4 channels and 3x3 are used
    used = torch.zeros_like(weight, dtype=torch.bool)
    used[:4, :, 2:5, 2:5] = True
    assert weight.grad[used].abs().min() > 0
    assert weight.grad[~used].abs().max() == 0


def test_supernet_extract_leaves_the_supernet_unchanged(space):
    supernet, _ = trained_supernet(space)
    before = copy.deepcopy(supernet.state_dict())
    net = supernet.extract(space.min())
    for tensor in net.state_dict().values():
        tensor.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in supernet.state_dict().items())


def test_supernet_copy_runs_on_its_own_weights(space):
    """Also after subnets have run: nothing of them stays in the skeletons."""
    supernet, _ = trained_supernet(space)
    smallest, images = space.min(), torch.randn(2, 1, 8, 8)
    before = supernet.eval()(images, smallest)
    copied = copy.deepcopy(supernet)
    for tensor in supernet.state_dict().values():
        tensor.zero_()
    assert torch.equal(copied(images, smallest), before)
    assert torch.allclose(copied.double()(images.double(), smallest), before.double(), rtol=1e-4)


def test_supernet_runs_a_subnet_again_after_it_failed(space):
    supernet, _ = trained_supernet(space)
    smallest, images = space.min(), torch.randn(2, 1, 8, 8)
    before = supernet.eval()(images, smallest)
    with pytest.raises(RuntimeError):
        supernet(images[:, :, 0], smallest)
    assert torch.equal(copy.deepcopy(supernet)(images, smallest), before)


def test_supernet_refuses_a_network_that_is_no_part(space):
    larger = replace(space.max(), classes=space.classes + 1)
    for use in (Supernet(space).extract, lambda arch: Supernet(space)(torch.zeros(1, 1, 12, 12), arch)):
        with pytest.raises(InputError, match=r"part of the supernet.*head\.classifier\.weight"):
            use(larger)


def test_view_takes_leading_channels_and_central_kernels():
    tensor = torch.arange(6 * 4 * 5 * 5).view(6, 4, 5, 5)
    assert torch.equal(view(tensor, torch.Size([2, 3, 3, 3])), tensor[:2, :3, 1:4, 1:4])
    assert view(tensor, torch.Size([2, 3, 3, 3])).data_ptr() == tensor[:, :, 1:, 1:].data_ptr()


SORTED = ["mobilenet-v2-tiny", "mobilenet-v3-large-w0.35"]


@pytest.mark.parametrize("name", SORTED)
def test_sort_channels_keeps_the_largest_networks_function(name):
    space = augment(load_arch(name))
    supernet, optimizer = trained_supernet(space, steps=1)
    images = torch.randn(2, 3, 96, 96, dtype=torch.float64)
    supernet.eval().double()
    before, first = supernet(images, space.max()), supernet.net.stem.conv.weight.clone()
    supernet.sort_channels(optimizer)
    after = supernet(images, space.max())
    assert not torch.equal(supernet.net.stem.conv.weight, first)
    assert torch.allclose(before, after, rtol=1e-9)


def logits_after_a_step(space, sort):
    """What the largest network computes after one more step; `sort` gets supernet and optimizer before it."""
    supernet, optimizer = trained_supernet(space)
    sort(supernet, optimizer)
    size = space.max().resolution
    images = torch.randn(4, 1, size, size, generator=torch.Generator().manual_seed(1))
    optimizer.zero_grad()
    cross_entropy(supernet(images, space.max()).flatten(1), torch.tensor([0, 1, 2, 0])).backward()
    optimizer.step()
    return supernet.eval()(images, space.max())


def test_sort_channels_moves_momentum_with_its_channels(any_space):
    """Momentum moves with its channels; left where it was, it takes the step elsewhere."""
    expected = logits_after_a_step(any_space, lambda supernet, optimizer: None)
    moved = logits_after_a_step(any_space, lambda supernet, optimizer: supernet.sort_channels(optimizer))
    left = logits_after_a_step(any_space, lambda supernet, optimizer: supernet.sort_channels())
    assert torch.allclose(moved, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(left, expected, rtol=1e-3, atol=1e-4)


def test_sort_channels_puts_the_important_channels_first():
    space = augment(load_arch("mcunet-in3"))
    supernet = Supernet(space)
    supernet.sort_channels()
    norms = supernet.net.stages[1][0].project.conv.weight.abs().sum((0, 2, 3))
    assert torch.equal(norms, norms.sort(descending=True).values)
    features = supernet.net.head.classifier.weight.abs().sum(0)
    assert torch.allclose(features, features.sort(descending=True).values)


@pytest.mark.parametrize("name", ["mcunet-in3", "mobilenet-v3-large-w0.35"])
def test_sort_channels_can_leave_the_channels_between_blocks(name):
    """As the authors' code does: it sorts inside the blocks that expand, by the weights that read their channels."""
    space = augment(load_arch(name))
    supernet, optimizer = trained_supernet(space, steps=1)
    images = torch.randn(2, 3, 96, 96, dtype=torch.float64)
    supernet.eval().double()
    before, state = supernet(images, space.max()), {k: v.clone() for k, v in supernet.state_dict().items()}
    supernet.sort_channels(optimizer, only_expanded=True)
    assert torch.allclose(before, supernet(images, space.max()), rtol=1e-9)
    moved = {name for name, tensor in supernet.state_dict().items() if not torch.equal(tensor, state[name])}
    inside = (".expand.", ".depthwise.", ".se.", ".project.conv.")
    assert moved
    assert all(name.startswith("net.stages.") and any(part in name for part in inside) for name in moved)
    blocks = [block for stage in supernet.net.stages for block in stage]
    expanding = [block for block in blocks if "expand" in block.layer_names]
    assert len(expanding) > 10
    for block in expanding:
        norms = block.project.conv.weight.abs().sum((0, 2, 3))
        if "se" in block.layer_names:
            norms = norms + block.se.reduce.weight.abs().sum((0, 2, 3))
        assert torch.allclose(norms, norms.sort(descending=True).values)
