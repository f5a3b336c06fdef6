import pytest
import torch
from torch.nn.functional import cross_entropy

from tinynas.data.base import Batch
from tinynas.tasks.losses import CrossEntropyLoss, SoftCrossEntropyLoss, TeacherLoss

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
