import torch

from tinynas import build
from tinynas.models.batchnorm import recalibrate


def test_recalibrate_sets_the_means_over_the_batches(space):
    net = build(space.min())
    batches = [torch.randn(8, 1, 8, 8) + i for i in range(3)]
    recalibrate(net, batches)
    maps = [net.stem.conv(x) for x in batches]
    assert torch.allclose(net.stem.norm.running_mean, torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0), atol=1e-6)
    assert torch.allclose(net.stem.norm.running_var, torch.stack([m.var((0, 2, 3)) for m in maps]).mean(0), atol=1e-5)


def test_recalibrate_ignores_earlier_statistics(space):
    net = build(space.min())
    batches = [torch.randn(8, 1, 8, 8) for _ in range(2)]
    recalibrate(net, batches)
    expected = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean += 5
    recalibrate(net, batches)
    assert all(torch.equal(expected[name], tensor) for name, tensor in net.state_dict().items())


def test_recalibrate_changes_only_statistics_and_keeps_momentum(space):
    net = build(space.min())
    weights = {name: parameter.clone() for name, parameter in net.named_parameters()}
    recalibrate(net, [torch.randn(4, 1, 8, 8)])
    assert all(torch.equal(weights[name], parameter) for name, parameter in net.named_parameters())
    assert net.stem.norm.momentum == 0.1
    assert not any(module.training for module in net.modules())
