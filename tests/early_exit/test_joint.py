import pytest
import torch
from torch import nn

from tinynas import SideNet
from tinynas.early_exit.joint import fit_jointly
from tinynas.utils.errors import InputError


def test_fit_jointly_trains_the_network_with_its_exits():
    torch.manual_seed(0)
    mainnet = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(144, 3)
    )
    labels = torch.arange(96) % 3
    images = torch.randn(96, 1, 8, 8)
    images[:, 0, 0, 0] += 2 * labels
    net = SideNet(mainnet, "2", 8, inputs=images)
    net.fit([(images, labels)])
    before = [parameter.clone() for parameter in mainnet.parameters()]
    statistics = mainnet[1].running_mean.clone()
    losses = []
    for _ in range(2):
        logits = net.all_logits(images)
        losses.append([float(nn.functional.cross_entropy(each, labels)) for each in logits])
        fit_jointly(net, [(images, labels)] * 60, steps=60, learning_rate=1e-2)
    assert all(after < 0.9 * first for after, first in zip(losses[1], losses[0], strict=True)), "every exit learns"
    changed = [not torch.equal(a, b) for a, b in zip(before, mainnet.parameters(), strict=True)]
    assert all(changed), "the network's own weights change"
    assert torch.equal(statistics, mainnet[1].running_mean)
    assert torch.equal(net(images).logits, mainnet(images)), "the parts still share the network's weights"
    assert not any(parameter.requires_grad for parameter in net.parameters())
    with pytest.raises(InputError, match="joint training needs 5 batches, but there are 2"):
        fit_jointly(net, [(images, labels)] * 2, steps=5)
