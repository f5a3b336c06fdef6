import torch
from torch import nn

from tinynas.models.layers import without_initial_values


def test_layers_have_initial_values_again_after_some_were_built_without():
    with without_initial_values():
        nn.Conv2d(2, 3, 1)
    torch.manual_seed(0)
    first = nn.Conv2d(2, 3, 1).weight
    torch.manual_seed(0)
    assert torch.equal(nn.Conv2d(2, 3, 1).weight, first)
    assert nn.BatchNorm2d(3).weight.tolist() == [1, 1, 1]
    assert first.std() > 0
