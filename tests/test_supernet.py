import copy
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from tinynas import Supernet, augment, build, load_arch
from tinynas.models.network import fold
from tinynas.models.supernet import view
from tinynas.utils.errors import InputError


def trained_a_little(space, steps=2):
    """A supernet whose norms have statistics and whose optimizer has momentum."""
    torch.manual_seed(0)
    supernet = Supernet(space).train()
    for module in supernet.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=0.3)  # so that the logits say what comes before
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    largest = space.max()
    for _ in range(steps):
        images = torch.randn(4, largest.in_channels, largest.resolution, largest.resolution)
        optimizer.zero_grad()
        cross_entropy(supernet(images, largest).flatten(1), torch.arange(4) % largest.classes).backward()
        optimizer.step()
    return supernet, optimizer


@pytest.mark.parametrize("training", [False, True])
def test_a_subnet_is_what_is_extracted(shipped_space, rng, training):
    supernet, _ = trained_a_little(shipped_space, steps=1)
    supernet.train(training)
    for arch in [shipped_space.min(), shipped_space.max(), *(shipped_space.sample(rng) for _ in range(4))]:
        net = supernet.extract(arch)
        images = torch.randn(2, arch.in_channels, arch.resolution, arch.resolution)
        assert torch.equal(supernet(images, arch), net(images))


def test_every_kind_of_choice_is_extracted(any_space, rng):
    supernet, _ = trained_a_little(any_space)
    supernet.eval()
    for _ in range(40):
        arch = any_space.sample(rng)
        images = torch.randn(2, 1, arch.resolution, arch.resolution)
        assert torch.equal(supernet(images, arch), supernet.extract(arch)(images))


def test_subnets_that_share_blocks_follow_the_supernets_mode(space, rng):
    supernet, _ = trained_a_little(space)
    for training in (True, False, True):
        supernet.train(training)
        for arch in (space.min(), *(space.sample(rng) for _ in range(10))):
            images = torch.randn(2, 1, arch.resolution, arch.resolution)
            net = supernet.extract(arch)
            assert torch.equal(supernet(images, arch), net(images))


def test_statistics_are_updated_through_the_views(space):
    supernet, _ = trained_a_little(space)
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


def test_a_subnet_trains_the_supernets_weights(space, rng):
    supernet, _ = trained_a_little(space)
    supernet.zero_grad()
    smallest = space.min()
    supernet(torch.randn(2, 1, smallest.resolution, smallest.resolution), smallest).sum().backward()
    weight = supernet.net.stages[1][0].depthwise.conv.weight  # (24, 1, 7, 7), of which 4 channels and 3x3 are used
    used = torch.zeros_like(weight, dtype=torch.bool)
    used[:4, :, 2:5, 2:5] = True
    assert weight.grad[used].abs().min() > 0
    assert weight.grad[~used].abs().max() == 0


def test_extracting_leaves_the_supernet_alone(space):
    supernet, _ = trained_a_little(space)
    before = copy.deepcopy(supernet.state_dict())
    net = supernet.extract(space.min())
    for tensor in net.state_dict().values():
        tensor.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in supernet.state_dict().items())


def test_a_copy_runs_on_its_own_weights(space):
    """Also after subnets have run: nothing of them stays in the skeletons."""
    supernet, _ = trained_a_little(space)
    smallest, images = space.min(), torch.randn(2, 1, 8, 8)
    before = supernet.eval()(images, smallest)
    copied = copy.deepcopy(supernet)
    for tensor in supernet.state_dict().values():
        tensor.zero_()
    assert torch.equal(copied(images, smallest), before)
    assert torch.allclose(copied.double()(images.double(), smallest), before.double(), rtol=1e-4)


def test_a_subnet_that_failed_runs_again(space):
    supernet, _ = trained_a_little(space)
    smallest, images = space.min(), torch.randn(2, 1, 8, 8)
    before = supernet.eval()(images, smallest)
    with pytest.raises(RuntimeError):
        supernet(images[:, :, 0], smallest)
    assert torch.equal(copy.deepcopy(supernet)(images, smallest), before)


def test_a_network_that_is_no_part_is_refused(space):
    larger = replace(space.max(), classes=space.classes + 1)
    for use in (Supernet(space).extract, lambda arch: Supernet(space)(torch.zeros(1, 1, 12, 12), arch)):
        with pytest.raises(InputError, match=r"part of the supernet.*head\.classifier\.weight"):
            use(larger)


def test_a_view_leads_in_channels_and_is_central_in_kernels():
    tensor = torch.arange(6 * 4 * 5 * 5).view(6, 4, 5, 5)
    assert torch.equal(view(tensor, torch.Size([2, 3, 3, 3])), tensor[:2, :3, 1:4, 1:4])
    assert view(tensor, torch.Size([2, 3, 3, 3])).data_ptr() == tensor[:, :, 1:, 1:].data_ptr()


SORTED = ["mobilenet-v2-tiny", "mobilenet-v3-large-w0.35"]


@pytest.mark.parametrize("name", SORTED)
def test_sorting_keeps_the_largest_networks_function(name):
    space = augment(load_arch(name))
    supernet, optimizer = trained_a_little(space, steps=1)
    images = torch.randn(2, 3, 96, 96, dtype=torch.float64)
    supernet.eval().double()
    before, first = supernet(images, space.max()), supernet.net.stem.conv.weight.clone()
    supernet.sort_channels(optimizer)
    after = supernet(images, space.max())
    assert not torch.equal(supernet.net.stem.conv.weight, first)
    assert torch.allclose(before, after, rtol=1e-9)


def logits_after_a_step(space, sort):
    """What the largest network computes after one more step; `sort` gets supernet and optimizer before it."""
    supernet, optimizer = trained_a_little(space)
    sort(supernet, optimizer)
    size = space.max().resolution
    images = torch.randn(4, 1, size, size, generator=torch.Generator().manual_seed(1))
    optimizer.zero_grad()
    cross_entropy(supernet(images, space.max()).flatten(1), torch.tensor([0, 1, 2, 0])).backward()
    optimizer.step()
    return supernet.eval()(images, space.max())


def test_the_step_after_sorting_is_the_sorted_step(any_space):
    """Momentum moves with its channels; left where it was, it takes the step elsewhere."""
    expected = logits_after_a_step(any_space, lambda supernet, optimizer: None)
    moved = logits_after_a_step(any_space, lambda supernet, optimizer: supernet.sort_channels(optimizer))
    left = logits_after_a_step(any_space, lambda supernet, optimizer: supernet.sort_channels())
    assert torch.allclose(moved, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(left, expected, rtol=1e-3, atol=1e-4)


def test_sorting_puts_the_important_channels_first():
    space = augment(load_arch("mcunet-in3"))
    supernet = Supernet(space)
    supernet.sort_channels()
    norms = supernet.net.stages[1][0].project.conv.weight.abs().sum((0, 2, 3))
    assert torch.equal(norms, norms.sort(descending=True).values)
    features = supernet.net.head.classifier.weight.abs().sum(0)
    assert torch.allclose(features, features.sort(descending=True).values)


def test_build_is_ordinary(space):
    net = build(space.max())
    assert net(torch.zeros(2, 1, 12, 12)).shape == (2, 3)
    assert all(type(m).__module__.startswith(("torch.nn", "tinynas.models")) for m in net.modules())


def test_folded_norms_compute_the_same(any_space):
    supernet, _ = trained_a_little(any_space)
    net = supernet.extract(any_space.max()).eval().double()
    folded = fold(net)
    images = torch.randn(3, 1, 12, 12, dtype=torch.float64)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    assert torch.allclose(folded(images), net(images), rtol=1e-9)
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in net.modules())
