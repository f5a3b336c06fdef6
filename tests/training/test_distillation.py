import torch

from tinynas.data.base import Batch
from tinynas.training import distillation
from tinynas.training.distillation import Teacher


class Counted(torch.nn.Module):
    """Answers with the images' means, and counts how often."""

    def __init__(self):
        super().__init__()
        self.calls = 0
        self.norm = torch.nn.BatchNorm2d(1)

    def forward(self, images):
        self.calls += 1
        return self.norm(images).mean((2, 3)).repeat(1, 3)


def batch(indices, images):
    return Batch(images[indices], torch.zeros(len(indices), dtype=torch.long), torch.tensor(indices), 0)


def test_teacher_answers_without_gradient_and_does_not_learn():
    net, images = Counted().train(), torch.randn(8, 1, 4, 4)
    statistics = net.norm.running_mean.clone()
    logits = Teacher(net)(batch([0, 3], images))
    assert not logits.requires_grad
    assert not net.training
    assert torch.equal(net.norm.running_mean, statistics)
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_teacher_looks_once_at_an_image_that_never_changes():
    net, images = Counted(), torch.randn(8, 1, 4, 4)
    teacher, fresh = Teacher(net, cached_images=8), Teacher(Counted())
    for indices in ([0, 3, 5], [1, 2, 4], [5, 1, 0], [2, 4]):
        assert torch.equal(teacher(batch(indices, images)), fresh(batch(indices, images)))
    assert net.calls == 2


def test_teacher_keeps_outputs_on_the_device_if_they_fit(monkeypatch):
    outputs = torch.empty(2, 3, device="meta")
    cache = distillation._empty_cache(8, outputs)
    assert (cache.shape, cache.device.type) == ((8, 3), "meta")
    monkeypatch.setattr(distillation, "_BYTES_ON_DEVICE", 8 * 3 * 4 - 1)
    assert distillation._empty_cache(8, outputs).device.type == "cpu"
