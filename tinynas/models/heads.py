"""Heads: the classifier's and the detector's last layers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..arch.arch import DetectorHead, Head
from .layers import _ACTIVATIONS, ConvNorm


class ClassifierHead(nn.Module):
    """The network of a `Head`: (N, channels, H, W) -> logits (N, classes)."""

    def __init__(self, head: Head, channels: int, classes: int) -> None:
        super().__init__()
        self.conv = ConvNorm(channels, head.conv, act=head.act) if head.conv else nn.Identity()
        features = head.conv or channels
        self.hidden = nn.Linear(features, head.hidden) if head.hidden else nn.Identity()
        self.act = _ACTIVATIONS[head.act]() if head.hidden else nn.Identity()
        self.dropout = nn.Dropout(0.0)
        self.classifier = nn.Linear(head.hidden or features, classes)

    def forward(self, x: Tensor) -> Tensor:
        features = self.conv(x).mean((2, 3))
        logits: Tensor = self.classifier(self.dropout(self.act(self.hidden(features))))
        return logits


class DetectionHead(nn.Module):
    """The network of a detector's head: feature maps of strides 16 and 32 -> (N, P, 5 + classes).

    P predictions: at each level, fine first, for each anchor, row and column. Each is x and y in its cell,
    width and height relative to the anchor, objectness, and the classes: all logits, see detection.decode.
    """

    def __init__(self, head: DetectorHead, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        width = head.width
        self.per_cell = head.per_cell
        self.lateral = nn.ModuleList([ConvNorm(c, width, act=head.act) for c in channels])
        self.depthwise = nn.ModuleList(
            [ConvNorm(width, width, head.kernel, groups=width, act=head.act) for _ in channels]
        )
        self.pointwise = nn.ModuleList([ConvNorm(width, width, act=head.act) for _ in channels])
        self.dropout = nn.Dropout(0.0)
        self.classifier = nn.ModuleList([nn.Conv2d(width, head.per_cell * (5 + classes), 1) for _ in channels])

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        coarse = self.lateral[1](coarse)
        fine = self.lateral[0](fine)
        doubled = nn.functional.interpolate(coarse, scale_factor=2.0)  # other factors not all converters get right
        if doubled.shape != fine.shape:
            doubled = doubled[:, :, : fine.shape[2], : fine.shape[3]]
        fine = doubled + fine
        predicted = [self._predict(1, coarse), self._predict(0, fine)]
        return torch.cat(predicted[::-1], 1)

    def _predict(self, level: int, features: Tensor) -> Tensor:
        x = self.dropout(self.pointwise[level](self.depthwise[level](features)))
        made = self.classifier[level](x)  # (N, A * (5 + classes), H, W)
        return made.unflatten(1, (self.per_cell, -1)).permute(0, 1, 3, 4, 2).flatten(1, 3)  # type: ignore[no-any-return]
