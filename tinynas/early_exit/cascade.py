"""Cascades: a small network in front of a larger one, which sees only the images the small one is unsure of."""

from collections.abc import Sequence

from torch import Tensor, nn

from ..data.transforms import resize
from ..utils.sizes import Size
from .network import EarlyExits


class Cascade(EarlyExits):
    """A small classifier in front of a larger one.

    It takes images (N, C, H, W) of any size and resizes them to what each network takes. Both networks are frozen and
    set to eval mode.

    Args:
        tiny: The classifier that sees all images.
        big: The classifier that sees the images which do not exit; its logits have the same shape (N, classes).
        resolutions: Sizes of the images that the two networks take, in pixels.
    """

    def __init__(self, tiny: nn.Module, big: nn.Module, resolutions: tuple[Size, Size]) -> None:
        first = _CascadePart(Resized(tiny.eval().requires_grad_(False), resolutions[0]), batch_dims=(0,))
        last = _CascadePart(Resized(big.eval().requires_grad_(False), resolutions[1]), batch_dims=())
        super().__init__([first, last])
        self.to(next(big.parameters()).device)


class Resized(nn.Module):
    """A network that takes images (N, C, H, W) of any size and resizes them to its own."""

    def __init__(self, net: nn.Module, resolution: Size) -> None:
        super().__init__()
        self.net, self.resolution = net, resolution

    def forward(self, images: Tensor) -> Tensor:
        """Return the network's logits (N, classes)."""
        logits: Tensor = self.net(resize(images, self.resolution))
        return logits


class _CascadePart(nn.Module):
    """A network that returns its logits and, unless it is the last, carries over its images."""

    def __init__(self, net: nn.Module, batch_dims: Sequence[int]) -> None:
        super().__init__()
        self.net = net
        self.batch_dims = tuple(batch_dims)

    def forward(self, *carried: Tensor) -> tuple[Tensor, ...]:
        (images,) = carried
        logits: Tensor = self.net(images)
        return (logits, images) if self.batch_dims else (logits,)
