import torch

from helpers import trained_supernet
from tinynas import build
from tinynas.models.network import fold


def test_build_uses_ordinary_modules(space):
    net = build(space.max())
    assert net(torch.zeros(2, 1, 12, 12)).shape == (2, 3)
    assert all(type(m).__module__.startswith(("torch.nn", "tinynas.models")) for m in net.modules())


def test_fold_computes_the_same(any_space):
    supernet, _ = trained_supernet(any_space)
    net = supernet.extract(any_space.max()).eval().double()
    folded = fold(net)
    images = torch.randn(3, 1, 12, 12, dtype=torch.float64)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    assert torch.allclose(folded(images), net(images), rtol=1e-9)
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in net.modules())
