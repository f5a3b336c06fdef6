from dataclasses import replace

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from tinynas import Supernet, augment
from tinynas.data.base import Batch
from tinynas.tasks.losses import CrossEntropyLoss, Loss
from tinynas.training.objectives import NetAugObjective, PlainObjective, SandwichObjective

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def batch_of(resolution, number=0):
    return Batch(torch.randn(6, 1, resolution, resolution), LABELS, torch.arange(6), number)


BATCH = batch_of(12)
IMAGES = BATCH.images


class Recorder(torch.nn.Module):
    """Stands for a supernet: notes which archs ran, and at which size."""

    def __init__(self):
        super().__init__()
        self.ran, self.statistics = [], []
        self.weight = torch.nn.Parameter(torch.ones(3))

    def forward(self, images, arch, *, statistics=True):
        self.statistics.append(statistics)
        assert images.shape[-1] == arch.resolution
        self.ran.append(arch)
        return images.mean((1, 2, 3))[:, None] * self.weight


def test_sandwich_runs_the_largest_the_smallest_and_random_subnets(space):
    for resolution in space.resolution:
        recorder = Recorder()
        objective = SandwichObjective(space, num_random_subnets=3)
        losses = list(objective.losses(recorder, batch_of(resolution), np.random.default_rng(0)))
        assert len(losses) == len(recorder.ran) == 5
        assert {arch.resolution for arch in recorder.ran} == {resolution}
        assert [arch.stages for arch in recorder.ran[:2]] == [space.max().stages, space.min().stages]
        assert len({arch.stages for arch in recorder.ran}) == 5


def test_sandwich_distils_the_largest_without_training_it_on_the_others(space):
    torch.manual_seed(0)
    supernet = Supernet(space).train()
    first, second = list(SandwichObjective(space).losses(supernet, BATCH, np.random.default_rng(0)))[:2]
    assert torch.allclose(first, cross_entropy(supernet(IMAGES, space.max()), LABELS), atol=1e-5)
    supernet.zero_grad()
    second.backward()
    largest_only = supernet.net.stages[1][1].project.conv.weight  # a block that the smallest does not have
    assert largest_only.grad is None


def test_sandwich_mixes_distillation_with_the_labels(space):
    supernet = Supernet(space).eval()

    def of_smallest(**settings):
        objective = SandwichObjective(space, loss=CrossEntropyLoss(0.1), num_random_subnets=0, **settings)
        return list(objective.losses(supernet, BATCH, None))[1]

    logits = supernet(IMAGES, replace(space.min(), resolution=12))
    hard = cross_entropy(logits, LABELS, label_smoothing=0.1)
    soft = cross_entropy(logits, supernet(IMAGES, space.max()).softmax(1))
    assert torch.allclose(of_smallest(distillation=0.0), hard)
    assert torch.allclose(of_smallest(distillation=1.0), soft)
    assert torch.allclose(of_smallest(distillation=0.3), 0.3 * soft + 0.7 * hard)


def test_netaug_runs_the_target_and_one_augmented_network(space):
    target = space.min()
    wide = augment(target, width=[1, 2], expand=[1, 2])
    recorder, rng = Recorder(), np.random.default_rng(0)
    ran = set()
    for _ in range(10):
        objective = NetAugObjective(target, wide, CrossEntropyLoss(), alpha=0.5)
        losses = list(objective.losses(recorder, batch_of(8), rng))
        assert len(losses) == 2
        assert recorder.statistics[-2:] == [True, False]
        assert recorder.ran[-2] == target
        assert torch.allclose(losses[1], losses[0] / 2)  # the recorder is the same for all archs
        assert wide.contains(recorder.ran[-1])
        ran.add(recorder.ran[-1])
    assert len(ran) > 5


def test_plain_is_cross_entropy(space):
    supernet = Supernet(space).eval()
    batch = batch_of(8)
    (loss,) = PlainObjective(space.min(), CrossEntropyLoss(0.1)).losses(supernet, batch, np.random.default_rng(0))
    expected = cross_entropy(supernet.extract(space.min())(batch.images), LABELS, label_smoothing=0.1)
    assert torch.equal(loss, expected)


def test_netaug_augments_every_nth_batch_as_often_as_requested(space):
    target = space.min()
    wide = augment(target, width=[1, 2], expand=[1, 2])
    objective = NetAugObjective(target, wide, CrossEntropyLoss(), num_augmented=3, every=4)
    for number in range(9):
        recorder = Recorder()
        losses = list(objective.losses(recorder, batch_of(8, number), np.random.default_rng(0)))
        assert len(losses) == (4 if number % 4 == 0 else 1)
        assert recorder.ran[0] == target


def test_netaug_takes_another_loss_for_augmented_networks(space):
    target = space.min()
    wide = augment(target, width=[1, 2], expand=[1, 2])

    class Double(Loss):
        """Twice the cross-entropy, with targets of another form."""

        def targets(self, batch):
            return batch

        def __call__(self, outputs, targets):
            return 2 * cross_entropy(outputs, targets.labels)

    objective = NetAugObjective(target, wide, CrossEntropyLoss(), augmented_loss=Double())
    of_target, of_wide = objective.losses(Recorder(), batch_of(8), np.random.default_rng(0))
    assert torch.allclose(of_wide, 2 * of_target)


def test_sandwich_keeps_one_graph_alive_at_a_time(space):
    """The generator computes a loss only when it is requested, after the step has used the previous loss."""
    recorder = Recorder()
    losses = SandwichObjective(space).losses(recorder, BATCH, np.random.default_rng(0))
    for i, _ in enumerate(losses, 1):
        assert len(recorder.ran) == i


class Varied(Recorder):
    """Stands for a supernet whose networks answer differently."""

    def forward(self, images, arch, *, statistics=True):
        return super().forward(images, arch, statistics=statistics) * len(self.ran)


def test_netaug_distils_the_first_augmented_network_into_the_target(space):
    target, recorder = space.min(), Varied()
    wide = augment(target, width=[1, 2], expand=[1, 2])
    torch.nn.init.normal_(recorder.weight)
    settings = {"num_augmented": 2, "alpha": 0.5, "every": 2, "inplace_distillation": 0.3}
    objective = NetAugObjective(target, wide, CrossEntropyLoss(), **settings)
    batch = batch_of(8)
    losses = objective.losses(recorder, batch, np.random.default_rng(0))
    answers = batch.images.mean((1, 2, 3))[:, None] * recorder.weight
    for number in (1, 2):
        loss = next(losses)
        assert len(recorder.ran) == number, "one graph is alive at a time"
        assert torch.allclose(loss, 0.5 * cross_entropy(number * answers, LABELS))
    distilled, labelled = cross_entropy(3 * answers, answers.softmax(1)), cross_entropy(3 * answers, LABELS)
    loss = next(losses)
    assert torch.allclose(loss, 0.3 * distilled + 0.7 * labelled)
    assert (recorder.ran[-1], recorder.statistics) == (target, [False, False, True])
    assert objective.reports_last
    loss.backward()
    expected = torch.autograd.grad(
        0.3 * cross_entropy(3 * answers, answers.detach().softmax(1)) + 0.7 * labelled, recorder.weight
    )
    assert torch.allclose(recorder.weight.grad, expected[0]), "no gradient flows into what is learned from"
    assert next(losses, None) is None
    (between,) = objective.losses(recorder, batch_of(8, 1), np.random.default_rng(0))
    assert recorder.ran[-1] == target
    assert between.requires_grad
