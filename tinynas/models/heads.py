"""The modules of heads: the last layers of classifiers and detectors, and what is specific to them.

Every module of a head takes the arch's head, the channels of the feature maps that it reads and the number of classes,
and has `dropout`, `init_biases`, `input_layer` and `channel_groups`. `emit` and `finish` cut it in two: the first part
can be run by the fused kernels, the second is always PyTorch's. HEAD_MODULES maps heads of archs to modules.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from ..arch.channels import ChannelGroup
from ..arch.heads import AnyHead, DetectorHead, Head
from ..kernels.program import Map, ProgramBuilder
from .layers import ACTIVATIONS, ConvNorm, PointwiseConv, ShardedDropout

_RARE = -4.0  # initial logit of objectness: few cells contain an object (Lin et al., ICCV 2017, section 3.3)


class ClassifierHead(nn.Module):
    """The module of a `Head`: (N, channels, H, W) -> logits (N, classes)."""

    def __init__(self, head: Head, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        self.config = head
        self.conv = ConvNorm(channels[0], head.conv, act=head.act) if head.conv else nn.Identity()
        features = head.conv or channels[0]
        self.hidden = nn.Linear(features, head.hidden) if head.hidden else nn.Identity()
        self.act = ACTIVATIONS[head.act]() if head.hidden else nn.Identity()
        self.dropout = ShardedDropout(0.0)
        self.classifier = nn.Linear(head.hidden or features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.finish(self.conv(x).mean((2, 3)))

    def finish(self, features: Tensor) -> Tensor:
        """Return the logits of pooled features (N, features)."""
        logits: Tensor = self.classifier(self.dropout(self.act(self.hidden(features))))
        return logits

    def emit(self, builder: ProgramBuilder, x: Map) -> list[Map]:
        """Add what is in front of `finish` to a program of the fused kernels."""
        return [builder.average(builder.emit(self.conv, x))]

    def init_biases(self) -> None:
        """Set the classifier's biases to 0: all classes are equally likely."""
        nn.init.zeros_(self.classifier.bias)

    def input_layer(self, level: int) -> str:
        """Return the name of the layer that reads the feature map."""
        return "head.conv.conv" if self.config.conv else self._first_linear()

    def channel_groups(self) -> Iterator[ChannelGroup]:
        """Yield the groups of channels within the head."""
        if self.config.conv:
            yield ChannelGroup().written_by("head.conv").read_by(self._first_linear())
        if self.config.hidden:
            yield ChannelGroup().written_with_bias_by("head.hidden").read_by("head.classifier")

    def _first_linear(self) -> str:
        return "head.hidden" if self.config.hidden else "head.classifier"


class DetectionHead(nn.Module):
    """The module of a `DetectorHead`: feature maps of strides 16 and 32 -> (N, P, 5 + classes).

    P predictions: for each level, fine first, for each anchor, row and column. Each prediction consists of x and y in
    its cell, width and height relative to the anchor, objectness, and the classes; all are logits, see
    `tasks.detection.decode`.
    """

    def __init__(self, head: DetectorHead, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        width, act = head.width, head.act
        outputs = head.per_cell * (5 + classes)
        self.config = head
        self.lateral = nn.ModuleList([ConvNorm(in_channels, width, act=act) for in_channels in channels])
        self.depthwise = nn.ModuleList([ConvNorm(width, width, head.kernel, groups=width, act=act) for _ in channels])
        self.pointwise = nn.ModuleList([ConvNorm(width, width, act=act) for _ in channels])
        self.dropout = ShardedDropout(0.0)
        self.classifier = nn.ModuleList([PointwiseConv(width, outputs, bias=True) for _ in channels])

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Return the predictions."""
        return self.finish(fine, coarse)

    def emit(self, builder: ProgramBuilder, fine: Map, coarse: Map) -> list[Map]:
        """Leave the whole head to PyTorch."""
        return [builder.plain(fine), builder.plain(coarse)]

    def finish(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Return the predictions."""
        coarse = self.lateral[1](coarse)
        fine = self.lateral[0](fine)
        upsampled = nn.functional.interpolate(coarse, scale_factor=2.0)  # some converters get other factors wrong
        if upsampled.shape != fine.shape:
            upsampled = upsampled[:, :, : fine.shape[2], : fine.shape[3]]
        fine = upsampled + fine
        coarse_predictions = self._predict(1, coarse)
        return torch.cat([self._predict(0, fine), coarse_predictions], 1)

    def _predict(self, level: int, features: Tensor) -> Tensor:
        x = self.dropout(self.pointwise[level](self.depthwise[level](features)))
        outputs = self.classifier[level](x)  # (N, A * (5 + classes), H, W)
        predictions: Tensor = outputs.unflatten(1, (self.config.per_cell, -1)).permute(0, 1, 3, 4, 2).flatten(1, 3)
        return predictions

    def init_biases(self) -> None:
        """Set the biases of objectness to that of rare objects, and all others to 0."""
        for classifier in self.classifier:
            bias = classifier.get_parameter("bias").detach()
            bias.zero_().view(self.config.per_cell, -1)[:, 4] = _RARE

    def input_layer(self, level: int) -> str:
        """Return the name of the layer that reads the feature map of a level, 0 for the fine one."""
        return f"head.lateral.{level}.conv"

    def channel_groups(self) -> Iterator[ChannelGroup]:
        """Yield the groups of channels within the head."""
        summed = ChannelGroup()  # both levels' maps, since one is added to the other
        for level in (0, 1):
            summed.written_by(f"head.lateral.{level}").written_by(f"head.depthwise.{level}")
            summed.read_by(f"head.pointwise.{level}.conv")
            yield ChannelGroup().written_by(f"head.pointwise.{level}").read_by(f"head.classifier.{level}")
        yield summed


HeadModule = ClassifierHead | DetectionHead
HEAD_MODULES: dict[type[AnyHead], Callable[..., HeadModule]] = {Head: ClassifierHead, DetectorHead: DetectionHead}
