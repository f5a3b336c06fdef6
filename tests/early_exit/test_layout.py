"""The dimension of features, found from the operators around the tapped output."""

import pytest
import torch
from torch import nn

from helpers import Encoder
from tinynas.early_exit.graph_split import split_network


class Permuted(nn.Module):
    """Maps (N, H, W, C) between a convolution, a layer norm and a linear layer, as Swin transformers have them."""

    def __init__(self):
        super().__init__()
        self.conv, self.move, self.act = nn.Conv2d(3, 8, 2), Move(), nn.GELU()
        self.norm, self.mix, self.flat, self.unflat = nn.LayerNorm(8), nn.Linear(8, 8), Flat(), Unflat()
        self.back, self.last = Back(), nn.Conv2d(8, 4, 1)
        self.pool, self.classify = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 2)

    def forward(self, x):
        maps = self.mix(self.norm(self.act(self.move(self.conv(x)))))
        maps = self.unflat(self.flat(maps), maps.shape[1:3])
        return self.classify(self.pool(self.last(self.back(maps))).flatten(1))


class Move(nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1)


class Back(nn.Module):
    def forward(self, x):
        return x.permute(0, 3, 1, 2)


class Flat(nn.Module):
    def forward(self, x):
        return x.flatten(1, 2)


class Unflat(nn.Module):
    def forward(self, x, size):
        return x.reshape(x.shape[0], *size, -1) + 1


class RootMeanSquare(nn.Module):
    """A norm whose mean over the features is no pooling over places, between layers that say nothing."""

    def __init__(self):
        super().__init__()
        self.embed, self.scale, self.classify = nn.Embedding(9, 8), nn.Identity(), nn.Linear(8, 2)

    def forward(self, x):
        hidden = self.scale(self.embed(x) + 1)
        hidden = hidden * hidden.pow(2).mean(-1, keepdim=True).rsqrt()
        return self.classify(hidden.mean(1))


class Pooled(nn.Module):
    """Only a mean over the places says which dimension counts features."""

    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(x).mean((1, 2))


def recurrent():
    return nn.Sequential(nn.Conv1d(3, 6, 3), nn.ReLU(), nn.Conv1d(6, 4, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten())


def grouped():
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(2, 8), nn.Hardswish(), nn.MaxPool2d(2), nn.Flatten(2))


IMAGE, ROWS = torch.randn(2, 3, 6, 7), torch.randn(2, 1, 9, 12)
CASES = {
    "permuted": (
        Permuted,
        IMAGE,
        {"conv": 1, "move": 3, "act": 3, "norm": 3, "mix": 3, "flat": 2, "unflat": 3, "back": 1, "last": 1, "pool": 1},
    ),
    "root mean square": (RootMeanSquare, torch.arange(8).reshape(2, 4), {"embed": 2, "scale": 2}),
    "pooled": (Pooled, torch.randn(2, 5, 6, 7), {"act": 3}),
    "one dimension": (recurrent, torch.randn(2, 3, 20), {"0": 1, "1": 1, "2": 1}),
    "norm of groups": (grouped, IMAGE, {"0": 1, "1": 1, "2": 1, "3": 1}),
    "batch first": (Encoder, ROWS, {"embed": 2, "layers.layers.0": 2, "layers.layers.1": 2}),
    "sequence first": (lambda: Encoder(batch_first=False), ROWS, {"layers.layers.0": 2, "layers.layers.1": 2}),
    "nothing shows it": (lambda: nn.Sequential(nn.ReLU(), nn.Tanh()), IMAGE, {"0": None}),
}


@pytest.mark.parametrize("case", CASES)
def test_feature_dim_is_that_of_the_operators_around_the_tap(case):
    make, inputs, expected = CASES[case]
    parts = split_network(make(), list(expected), [inputs])
    assert [part.feature_dim for part in parts[:-1]] == list(expected.values())
