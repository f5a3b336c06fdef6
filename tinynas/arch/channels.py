"""Groups of channels that can be reordered without changing what a network computes."""


class ChannelGroup:
    """Channels of feature maps that must keep a common order, and the tensors that are indexed by them.

    Writers produce the channels (convolution outputs, norms, gates), readers consume them; each is a tensor's name in
    the network's state dict and the dimension that the channels index. The methods that add to a group return it.
    """

    def __init__(self) -> None:
        self.writers: list[tuple[str, int]] = []
        self.readers: list[tuple[str, int]] = []

    def written_by(self, name: str) -> "ChannelGroup":
        """Add the output channels of a ConvNorm."""
        self.writers.append((f"{name}.conv.weight", 0))
        for tensor in ("weight", "bias", "running_mean", "running_var"):
            self.writers.append((f"{name}.norm.{tensor}", 0))
        return self

    def written_with_bias_by(self, name: str) -> "ChannelGroup":
        """Add the outputs of a convolution or linear layer with bias."""
        self.writers.append((f"{name}.weight", 0))
        self.writers.append((f"{name}.bias", 0))
        return self

    def read_by(self, name: str) -> "ChannelGroup":
        """Add the input channels of a convolution or linear layer."""
        self.readers.append((f"{name}.weight", 1))
        return self
