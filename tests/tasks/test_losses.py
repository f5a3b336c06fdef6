import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from tinynas.data.base import Batch
from tinynas.tasks.losses import (
    AlphaDivergenceLoss,
    CrossEntropyLoss,
    SoftCrossEntropyLoss,
    TeacherLoss,
    balanced_class_weights,
)

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def batch_of(resolution, number=0):
    return Batch(torch.randn(6, 1, resolution, resolution), LABELS, torch.arange(6), number)


BATCH = batch_of(12)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_distillation_loss_mixes_the_teacher_with_the_labels(temperature):
    logits, answers = torch.randn(6, 3, requires_grad=True), torch.randn(6, 3)
    batches = []

    def teacher(batch):
        batches.append(batch)
        return answers

    loss = TeacherLoss(teacher, CrossEntropyLoss(0.1), SoftCrossEntropyLoss(temperature), weight=0.3)
    targets = loss.targets(BATCH)
    hard = cross_entropy(logits, LABELS, label_smoothing=0.1)
    soft = -((answers / temperature).softmax(1) * (logits / temperature).log_softmax(1)).sum(1).mean()
    assert torch.allclose(loss(logits, targets), 0.7 * hard + 0.3 * temperature**2 * soft)
    loss(logits, targets)
    assert len(batches) == 1, "the teacher runs once a batch, however many networks learn from it"
    only_soft = TeacherLoss(
        lambda batch: logits.detach(), distillation_loss=SoftCrossEntropyLoss(temperature), weight=1.0
    )
    only_soft(logits, only_soft.targets(BATCH)).backward()
    assert torch.allclose(logits.grad, torch.zeros(6, 3), atol=1e-6), "who answers like the teacher has learned"


def test_balanced_class_weights_equal_scikit_learn(rng):
    from sklearn.utils.class_weight import compute_class_weight

    labels = rng.choice(5, 300, p=[0.6, 0.0, 0.3, 0.1, 0.0])
    weights = balanced_class_weights(torch.from_numpy(labels), 5)
    present = [0, 2, 3]
    expected = compute_class_weight("balanced", classes=np.array(present), y=labels)
    assert weights[present].tolist() == pytest.approx(expected.tolist(), rel=1e-6)
    assert weights[[1, 4]].tolist() == [0.0, 0.0]
    assert weights[labels].mean().item() == pytest.approx(1, rel=1e-5)


def test_balanced_class_weights_of_equal_classes_are_1():
    assert balanced_class_weights(LABELS, 3).tolist() == [1.0, 1.0, 1.0]


def test_cross_entropy_with_class_weights_multiplies_each_images_loss():
    """The whole loss of an image has its label's weight, label smoothing included."""
    logits, weights = torch.randn(6, 3), torch.tensor([0.5, 2.0, 0.0])
    loss = CrossEntropyLoss(0.1, weights)
    total = 0.0
    for row, label in zip(logits, LABELS, strict=True):
        total += weights[label] * cross_entropy(row[None], label[None], label_smoothing=0.1)
    assert torch.allclose(loss(logits, loss.targets(BATCH)), total / 6)


def divergence(p, q, alpha):
    """The alpha-divergence of each row of q from that of p, by its definition."""
    return (q * ((p / q) ** alpha - 1)).sum(1) / (alpha * (alpha - 1))


def kl(p, q):
    return (p * (p / q).log()).sum(1)


def test_alpha_divergence_is_the_larger_of_two_with_its_gradient():
    """Where no weight is clipped. Rows of both kinds occur, and KL is the limit for alpha 1."""
    torch.manual_seed(0)
    outputs = torch.randn(40, 5, dtype=torch.float64, requires_grad=True)
    answers = torch.randn(40, 5, dtype=torch.float64)
    p, q = answers.softmax(1), outputs.softmax(1)
    torch.testing.assert_close(divergence(p, q, 1 - 1e-6), kl(p, q), rtol=1e-4, atol=1e-6)
    kinds = divergence(p, q, -1.0) > kl(p, q)
    assert 5 < kinds.sum() < 35
    expected = torch.maximum(divergence(p, q, -1.0), kl(p, q)).mean()
    loss = AlphaDivergenceLoss(max_weight=1e9)
    value = loss(outputs, loss.targets(answers))
    torch.testing.assert_close(value.double(), expected)
    gradients = [torch.autograd.grad(total, outputs, retain_graph=True)[0] for total in (value, expected)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-6)


def test_alpha_divergence_clips_weights():
    """A class that the teacher holds impossible has a weight of 5, not of q / p."""
    outputs = torch.zeros(1, 2, requires_grad=True)
    loss = AlphaDivergenceLoss()
    value = loss(outputs, loss.targets(torch.tensor([[0.0, -60.0]])))
    weights = torch.tensor([0.5, 5.0])  # q / p, at most 5
    torch.testing.assert_close(value, (0.5 * (weights - 1)).sum() / 2)
    value.backward()
    q = torch.tensor([0.5, 0.5])
    expected = q * weights - q * (q * weights).sum()  # the gradient of sum(q * w * log q), w and the first q constant
    torch.testing.assert_close(outputs.grad[0], expected)
    same = torch.randn(3, 4)
    torch.testing.assert_close(loss(same, loss.targets(same)), torch.tensor(0.0), rtol=0, atol=1e-6)
