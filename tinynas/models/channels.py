"""Groups of channels that can be reordered without changing what a network computes."""

from collections.abc import Iterator

from ..arch.arch import Arch, DetectorHead


class ChannelGroup:
    """Channels of feature maps that must keep one order, and the tensors that hold an index of them.

    Writers make the channels (convolution outputs, norms, gates), readers take them; each is a tensor's name in the
    network's state and the dimension that the channels index.
    """

    def __init__(self) -> None:
        self.writers: list[tuple[str, int]] = []
        self.readers: list[tuple[str, int]] = []

    def written_by(self, name: str) -> "ChannelGroup":
        """Add the output channels of a ConvNorm."""
        self.writers.append((f"{name}.conv.weight", 0))
        self.writers += [(f"{name}.norm.{part}", 0) for part in ("weight", "bias", "running_mean", "running_var")]
        return self

    def written_with_bias_by(self, name: str) -> "ChannelGroup":
        """Add the outputs of a convolution or linear layer with bias."""
        self.writers += [(f"{name}.weight", 0), (f"{name}.bias", 0)]
        return self

    def read_by(self, name: str) -> "ChannelGroup":
        """Add the input channels of a convolution or linear layer."""
        self.readers.append((f"{name}.weight", 1))
        return self


def channel_groups(arch: Arch) -> Iterator[ChannelGroup]:
    """Every group of channels that can be reordered without changing what `build(arch)` computes."""
    stream = ChannelGroup().written_by("stem")  # of the feature maps between blocks
    taps, head = arch.taps(), arch.head
    for s, stage in enumerate(arch.stages):
        for b, block in enumerate(stage):
            name = f"stages.{s}.{b}"
            inner = stream  # of those within the block
            if block.mid:
                stream.read_by(f"{name}.expand.conv")
                inner = ChannelGroup().written_by(f"{name}.expand")
            inner.written_by(f"{name}.depthwise").read_by(f"{name}.project.conv")
            if block.se:
                inner.read_by(f"{name}.se.reduce").written_with_bias_by(f"{name}.se.expand")
                yield ChannelGroup().written_with_bias_by(f"{name}.se.reduce").read_by(f"{name}.se.expand")
            if block.mid:
                yield inner
            if not block.residual:
                yield stream
                stream = ChannelGroup()
            stream.written_by(f"{name}.project")
        if isinstance(head, DetectorHead) and s in taps:
            stream.read_by(f"head.lateral.{taps.index(s)}.conv")
    if isinstance(head, DetectorHead):
        yield stream
        yield from _detector_groups()
        return
    if head.conv:
        yield stream.read_by("head.conv.conv")
        stream = ChannelGroup().written_by("head.conv")
    if head.hidden:
        yield stream.read_by("head.hidden")
        stream = ChannelGroup().written_with_bias_by("head.hidden")
    yield stream.read_by("head.classifier")


def _detector_groups() -> Iterator[ChannelGroup]:
    added = ChannelGroup()  # both levels' maps, since one is added to the other
    for level in (0, 1):
        name = f"head.{{}}.{level}"
        added.written_by(name.format("lateral")).written_by(name.format("depthwise"))
        added.read_by(name.format("pointwise") + ".conv")
        yield ChannelGroup().written_by(name.format("pointwise")).read_by(name.format("classifier"))
    yield added
