"""The modules of heads: the last layers of classifiers and detectors, and what is specific to them.

Every module of a head takes the arch's head, the channels of the feature maps that it reads and the number of classes,
and has `dropout`, `init_outputs`, `input_layer` and `channel_groups`. `emit` and `finish` cut it in two: the first part
can be run by the fused kernels, the second is always PyTorch's. HEAD_MODULES maps heads of archs to modules.
"""

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor, nn

from ..arch.channels import ChannelGroup
from ..arch.detector_head import DetectorHead
from ..arch.heads import AnyHead, Head
from ..kernels.program import Map, ProgramBuilder
from .detection_head import DetectionHead
from .layers import ACTIVATIONS, ConvNorm, ShardedDropout


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

    def init_outputs(self) -> None:
        """Set the classifier's biases to 0: all classes are equally likely."""
        nn.init.zeros_(self.classifier.bias)

    def input_layer(self, number: int) -> str:
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


HeadModule = ClassifierHead | DetectionHead
HEAD_MODULES: dict[type[AnyHead], Callable[..., HeadModule]] = {Head: ClassifierHead, DetectorHead: DetectionHead}
