from dataclasses import replace

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from tinynas import Supernet, augment
from tinynas.objectives import netaug, plain, sandwich

IMAGES, LABELS = torch.randn(6, 1, 12, 12), torch.tensor([0, 1, 2, 0, 1, 2])


class Recorder(torch.nn.Module):
    """Stands for a supernet: notes which archs ran, and at which size."""

    def __init__(self):
        super().__init__()
        self.ran = []
        self.weight = torch.nn.Parameter(torch.ones(3))

    def forward(self, images, arch):
        assert images.shape[-1] == arch.resolution
        self.ran.append(arch)
        return images.mean((1, 2, 3))[:, None] * self.weight


def test_sandwich_runs_largest_smallest_and_randoms(space):
    for resolution in space.resolution:
        recorder, images = Recorder(), torch.randn(6, 1, resolution, resolution)
        losses = list(sandwich(space, randoms=3)(recorder, images, LABELS, np.random.default_rng(0)))
        assert len(losses) == len(recorder.ran) == 5
        assert {arch.resolution for arch in recorder.ran} == {resolution}
        assert [arch.stages for arch in recorder.ran[:2]] == [space.max().stages, space.min().stages]
        assert len({arch.stages for arch in recorder.ran}) == 5


def test_sandwich_distils_the_largest_without_training_it_on_the_others(space):
    torch.manual_seed(0)
    supernet = Supernet(space).train()
    first, second = list(sandwich(space)(supernet, IMAGES, LABELS, np.random.default_rng(0)))[:2]
    assert torch.allclose(first, cross_entropy(supernet(IMAGES, space.max()), LABELS), atol=1e-5)
    supernet.zero_grad()
    second.backward()
    largest_only = supernet.net.stages[1][1].project.conv.weight  # a block that the smallest does not have
    assert largest_only.grad is None


def test_a_part_of_the_distillation_leaves_the_rest_to_the_labels(space):
    supernet = Supernet(space).eval()

    def of_smallest(**given):
        return list(sandwich(space, randoms=0, smoothing=0.1, **given)(supernet, IMAGES, LABELS, None))[1]

    logits = supernet(IMAGES, replace(space.min(), resolution=12))
    hard = cross_entropy(logits, LABELS, label_smoothing=0.1)
    soft = cross_entropy(logits, supernet(IMAGES, space.max()).softmax(1))
    assert torch.allclose(of_smallest(distillation=0.0), hard)
    assert torch.allclose(of_smallest(distillation=1.0), soft)
    assert torch.allclose(of_smallest(distillation=0.3), 0.3 * soft + 0.7 * hard)


def test_netaug_is_the_target_and_one_augmented_network(space):
    target = space.min()
    wide = augment(target, width=[1, 2], expand=[1, 2])
    recorder, rng = Recorder(), np.random.default_rng(0)
    images = torch.randn(6, 1, 8, 8)
    ran = set()
    for _ in range(10):
        losses = list(netaug(target, wide, alpha=0.5)(recorder, images, LABELS, rng))
        assert len(losses) == 2
        assert recorder.ran[-2] == target
        assert torch.allclose(losses[1], losses[0] / 2)  # the recorder is the same for all archs
        assert wide.contains(recorder.ran[-1])
        ran.add(recorder.ran[-1])
    assert len(ran) > 5


def test_plain_is_cross_entropy(space):
    supernet = Supernet(space).eval()
    images = torch.randn(6, 1, 8, 8)
    (loss,) = plain(space.min(), smoothing=0.1)(supernet, images, LABELS, np.random.default_rng(0))
    expected = cross_entropy(supernet.extract(space.min())(images), LABELS, label_smoothing=0.1)
    assert torch.equal(loss, expected)


def test_one_graph_is_alive_at_a_time(space):
    """The generator makes a loss only when it is asked for: the one before is done with by then."""
    recorder = Recorder()
    losses = sandwich(space)(recorder, IMAGES, LABELS, np.random.default_rng(0))
    for i, _ in enumerate(losses, 1):
        assert len(recorder.ran) == i
