"""The module of a detector's head, see `heads`."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from ..arch.channels import ChannelGroup
from ..arch.detector_head import SIDES, DetectorHead
from ..kernels.program import Map, ProgramBuilder
from .layers import ConvNorm, PointwiseConv, ShardedDropout

_RARE = -4.0  # initial logit of a class: few positions see an object (Lin et al., ICCV 2017, section 3.3)
_SMALL = 0.01  # standard deviation of the initial weights of the last layers (the same section)


class SeparableConv(nn.Module):
    """A depthwise and a 1x1 convolution: (N, channels, H, W) -> the same."""

    def __init__(self, channels: int, kernel: int, act: str) -> None:
        super().__init__()
        self.depthwise = ConvNorm(channels, channels, kernel, groups=channels, act=act)
        self.pointwise = ConvNorm(channels, channels, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        y: Tensor = self.pointwise(self.depthwise(x))
        return y

    def emit(self, builder: ProgramBuilder, x: Map) -> Map:
        """Add the layers to a program of the fused kernels."""
        return self.pointwise.emit(builder, self.depthwise.emit(builder, x))


class DetectionHead(nn.Module):
    """The module of a `DetectorHead`: feature maps, the finest first -> (N, P, 4 + classes).

    P predictions: for each map, the coarsest first, for each row and column. Each prediction consists of the distances
    to the left, top, right and bottom of a box, see `tasks.detection.decode`, and the classes' logits. The layers of a
    map are numbered from that of the coarsest one, 0, so that heads with fewer maps have the first ones.
    """

    def __init__(self, head: DetectorHead, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        self.config = head
        width, act = head.width, head.act
        levels = range(head.levels)
        self.lateral = nn.ModuleList([ConvNorm(in_channels, width, act=act) for in_channels in reversed(channels)])
        self.convs = nn.ModuleList()
        for _ in levels:
            self.convs.append(nn.Sequential(*[SeparableConv(width, head.kernel, act) for _ in range(head.convs)]))
        self.dropout = ShardedDropout(0.0)
        self.boxes = nn.ModuleList([PointwiseConv(width, SIDES, bias=True) for _ in levels])
        self.classifier = nn.ModuleList([PointwiseConv(width, classes, bias=True) for _ in levels])

    def forward(self, *maps: Tensor) -> Tensor:
        """Return the predictions."""
        predictions = []
        coarser: Tensor | None = None
        for level, of_stage in enumerate(reversed(maps)):
            x = self.lateral[level](of_stage)
            if coarser is not None:
                x = _upsampled(coarser, x) + x
            coarser = x
            predictions.append(self._predict(level, self.convs[level](x)))  # before the next level, to free the map
        return torch.cat(predictions, 1)

    def emit(self, builder: ProgramBuilder, *maps: Map) -> list[Map]:
        """Add what is in front of the last layers to a program of the fused kernels, and return the levels' maps."""
        features = []
        coarser: Map | None = None
        for level, of_stage in enumerate(reversed(maps)):
            x = builder.emit(self.lateral[level], of_stage)
            if coarser is None:
                x = builder.plain(x)
            else:
                x = builder.sum(x, builder.upsampled(coarser, x.height, x.width))
            coarser = y = x
            for conv in self.convs[level].children():
                y = builder.emit(conv, y)
            features.append(builder.plain(y))
        return features

    def finish(self, *features: Tensor) -> Tensor:
        """Return the predictions, given the levels' maps (N, width, H, W), the coarsest first."""
        return torch.cat([self._predict(level, of_level) for level, of_level in enumerate(features)], 1)

    def _predict(self, level: int, features: Tensor) -> Tensor:
        """Return the predictions (N, H * W, 4 + classes) of a level, given its map (N, width, H, W)."""
        x = self.dropout(features)
        return torch.cat([self.boxes[level](x), self.classifier[level](x)], 1).flatten(2).transpose(1, 2)

    def init_outputs(self) -> None:
        """Initialise the last layers: small weights, boxes of two strides' sides, and classes that are rare."""
        for boxes, classifier in zip(self.boxes, self.classifier, strict=True):
            for layer, bias in ((boxes, 1.0), (classifier, _RARE)):
                nn.init.normal_(layer.get_parameter("weight"), std=_SMALL)
                nn.init.constant_(layer.get_parameter("bias"), bias)

    def input_layer(self, number: int) -> str:
        """Return the name of the layer that reads a feature map, counted from 0, the finest."""
        return f"head.lateral.{self.config.levels - 1 - number}.conv"

    def channel_groups(self) -> Iterator[ChannelGroup]:
        """Yield the groups of channels within the head."""
        summed = ChannelGroup()  # the maps of all levels, since each is added to the next
        for level in range(self.config.levels):
            summed.written_by(f"head.lateral.{level}")
            group = summed
            for number in range(self.config.convs):
                name = f"head.convs.{level}.{number}"
                group.written_by(f"{name}.depthwise").read_by(f"{name}.pointwise.conv")
                if group is not summed:
                    yield group
                group = ChannelGroup().written_by(f"{name}.pointwise")
            yield group.read_by(f"head.boxes.{level}").read_by(f"head.classifier.{level}")
        yield summed


def _upsampled(coarse: Tensor, fine: Tensor) -> Tensor:
    """Return the coarse map at the size of the fine one, which is twice its own or a row and column less."""
    upsampled = nn.functional.interpolate(coarse, scale_factor=2.0)  # some converters get other factors wrong
    if upsampled.shape != fine.shape:
        upsampled = upsampled[:, :, : fine.shape[2], : fine.shape[3]]
    return upsampled
