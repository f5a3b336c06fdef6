"""The layers of vision transformers, on feature maps (N, C, H, W)."""

from torch import Tensor, nn

from .layers import ConvNorm


class TransformerLayers(nn.Module):
    """Positions, self-attention and a hidden layer, each added to its input. Keeps the shape (N, channels, H, W).

    Args:
        channels: Channels of the map.
        heads: Attention heads.
        head_channels: Channels of each.
        hidden: Features of the hidden layer.
    """

    def __init__(self, channels: int, heads: int, head_channels: int, hidden: int) -> None:
        super().__init__()
        self.position = ConvNorm(channels, channels, 3, groups=channels)
        self.attention = Attention(channels, heads, head_channels)
        self.hidden = HiddenLayer(channels, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Run the layers."""
        x = self.position(x) + x
        tokens = x.flatten(2).transpose(1, 2)  # (N, H * W, channels)
        tokens = self.attention(tokens) + tokens
        tokens = self.hidden(tokens) + tokens
        y: Tensor = tokens.transpose(1, 2).reshape(x.shape)
        return y


class Attention(nn.Module):
    """Layer norm and self-attention (Vaswani et al., 2017, section 3.2): (N, T, channels) -> (N, T, channels)."""

    def __init__(self, channels: int, heads: int, head_channels: int) -> None:
        super().__init__()
        self.heads, self.head_channels = heads, head_channels
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, heads * head_channels)
        self.key = nn.Linear(channels, heads * head_channels)
        self.value = nn.Linear(channels, heads * head_channels)
        self.project = nn.Linear(heads * head_channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Run the layers."""
        normed = self.norm(tokens)
        query, key, value = (
            self._heads(self.query(normed)),
            self._heads(self.key(normed)),
            self._heads(self.value(normed)),
        )
        scores = query @ key.transpose(2, 3) * self.head_channels**-0.5  # (N, heads, T, T)
        attended = scores.softmax(-1) @ value  # (N, heads, T, head_channels)
        projected: Tensor = self.project(attended.transpose(1, 2).flatten(2))
        return projected

    def _heads(self, features: Tensor) -> Tensor:
        """Split features (N, T, heads * head_channels) into (N, heads, T, head_channels)."""
        return features.reshape(*features.shape[:2], self.heads, self.head_channels).transpose(1, 2)


class HiddenLayer(nn.Module):
    """Layer norm, a linear layer with GELU, and one back: (N, T, channels) -> (N, T, channels)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, hidden)
        self.project = nn.Linear(hidden, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Run the layers."""
        y: Tensor = self.project(nn.functional.gelu(self.expand(self.norm(tokens))))
        return y
