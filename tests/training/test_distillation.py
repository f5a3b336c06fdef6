import torch

from tinynas import build
from tinynas.data.base import Batch
from tinynas.training.distillation import Teacher


class NormedMeans(torch.nn.Module):
    """Answers with the images' normalised means."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(1)

    def forward(self, images):
        return self.norm(images).mean((2, 3)).repeat(1, 3)


def batch(indices, images):
    return Batch(images[indices], torch.zeros(len(indices), dtype=torch.long), torch.tensor(indices), 0)


def test_teacher_answers_without_gradient_and_does_not_learn():
    net, images = NormedMeans().train(), torch.randn(8, 1, 4, 4)
    statistics = net.norm.running_mean.clone()
    logits = Teacher(net)(batch([0, 3], images))
    assert not logits.requires_grad
    assert not net.training
    assert torch.equal(net.norm.running_mean, statistics)
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_teacher_computes_in_the_precision_of_the_retraining(space):
    net, images = build(space.min()).eval(), torch.randn(4, *space.min().input_shape)
    exact, rounded = Teacher(net).evaluate(images), Teacher(net, precision="bf16").evaluate(images)
    assert exact.dtype == rounded.dtype == torch.float32
    assert torch.equal(exact, net(images))
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(exact, rounded, rtol=0.1, atol=0.1)


def test_digest_of_a_teacher_is_that_of_structure_and_weights(space):
    net = build(space.min())
    digest = Teacher(net).digest()
    copy = build(space.min())
    copy.load_state_dict(net.state_dict())
    assert Teacher(copy).digest() == digest
    with torch.no_grad():
        copy.head.classifier.bias[0] += 1
    assert Teacher(copy).digest() != digest
    relu, gelu = (torch.nn.Sequential(act(), NormedMeans()) for act in (torch.nn.ReLU, torch.nn.GELU))
    assert Teacher(relu).digest() != Teacher(gelu).digest(), "of the same weights"
