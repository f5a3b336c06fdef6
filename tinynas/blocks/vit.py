"""Blocks of vision transformers: self-attention over the pixels of a feature map, then a hidden layer."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from ..arch.block_kinds import block
from ..arch.blocks import Block
from ..arch.channels import ChannelGroup
from ..arch.checks import check_channels
from ..arch.lowering_steps import Lowering
from ..arch.operators import TensorSpec
from ..arch.options import Option, RatioOption

HEAD_CHANNELS = 16  # of an attention head; fixed, so that a network with fewer heads uses whole heads


@block("vit")
@dataclass(frozen=True, kw_only=True)
class TransformerBlock(Block):
    """Positions, self-attention and a hidden layer, each added to its input (Dosovitskiy et al., 2021, section 3.1).

    Layer norm stands before attention and hidden layer. Positions come from a depthwise 3x3 convolution (Chu et al.,
    2021, section 3), so that one network serves images of several sizes. The depth, the channels (by the stem), the
    heads and the hidden layer can be chosen, as in AutoFormer (Chen et al., 2021, section 3.3).

    Networks with these blocks run in PyTorch and as ONNX; TFLite files of them cannot be written.

    Attributes:
        out: Channels of input and output.
        heads: Attention heads of 16 channels each.
        mid: Features of the hidden layer, which has a GELU.
    """

    options: ClassVar = (Option("heads", "heads"), RatioOption("mid", "expand"))

    out: int
    heads: int
    mid: int

    residual = True

    def __post_init__(self) -> None:
        check_channels("out", self.out)
        check_channels("heads", self.heads)
        check_channels("mid", self.mid)

    def lower(self, lowering: Lowering, x: TensorSpec, name: str) -> TensorSpec:
        """Append the block's operators."""
        positions = lowering.depthwise_norm(x, f"{name}.position", kernel=3)
        x = lowering.sum(positions, x, f"{name}.add_position")
        normed = lowering.layer_norm(x, f"{name}.attention.norm")
        features = self.heads * HEAD_CHANNELS
        query = lowering.pixelwise_linear(normed, f"{name}.attention.query", features)
        key = lowering.pixelwise_linear(normed, f"{name}.attention.key", features)
        value = lowering.pixelwise_linear(normed, f"{name}.attention.value", features)
        attended = lowering.attend(query, key, value, f"{name}.attention", heads=self.heads)
        y = lowering.pixelwise_linear(attended, f"{name}.attention.project", self.out)
        x = lowering.sum(y, x, f"{name}.add_attention")
        y = lowering.layer_norm(x, f"{name}.hidden.norm")
        y = lowering.gelu(lowering.pixelwise_linear(y, f"{name}.hidden.expand", self.mid))
        y = lowering.pixelwise_linear(y, f"{name}.hidden.project", self.out)
        return lowering.sum(y, x, f"{name}.add_hidden")

    def module(self, channels: int) -> Any:
        """Return the three layers with their shortcuts."""
        from ..models.transformer import TransformerLayers

        return TransformerLayers(channels, self.heads, HEAD_CHANNELS, self.mid)

    def channel_groups(self, name: str, inputs: ChannelGroup, outputs: ChannelGroup) -> Iterator[ChannelGroup]:
        """Add the block's tensors to the group of its channels; yield that of the hidden layer's features.

        Features of the heads keep their order.
        """
        outputs.written_by(f"{name}.position")
        for part in ("attention", "hidden"):
            outputs.written_with_bias_by(f"{name}.{part}.norm").written_with_bias_by(f"{name}.{part}.project")
        for part in ("query", "key", "value"):
            inputs.read_by(f"{name}.attention.{part}")
        inputs.read_by(f"{name}.hidden.expand")
        yield ChannelGroup().written_with_bias_by(f"{name}.hidden.expand").read_by(f"{name}.hidden.project")
