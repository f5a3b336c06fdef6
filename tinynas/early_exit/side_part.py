"""A part of a network with a side head on its result."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from .graph_split import Part, run_part
from .side_head import SideHead


class SidePart(nn.Module):
    """A part of a network with a side head on its result.

    Attributes:
        part: The part.
        head: Its side head.
        batch_dims: Dimension of each activation for the next part that counts the examples.
        mask: Computes the padding mask (N, S) from the network's inputs; None if there is none or it is carried over.
        takes_mask: Whether the last of the carried activations is a padding mask.
        gives_mask: Whether the next part takes it.
    """

    def __init__(self, part: Part, head: SideHead) -> None:
        super().__init__()
        self.part, self.head, self.batch_dims = part, head, part.batch_dims
        self.mask: nn.Module | None = None
        self.takes_mask = self.gives_mask = False

    def forward(self, *carried: Tensor) -> tuple[Tensor, ...]:
        """Return the side head's logits (N, classes), then the activations that the next part takes."""
        tapped, padding, further = self._run(carried)
        return self.head(tapped, padding), *further

    def features(self, carried: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """Return the features (N, C) that the side head classifies, and the activations that the next part takes."""
        tapped, padding, further = self._run(carried)
        return self.head.pooled(tapped, padding), further

    def _run(self, carried: Sequence[Tensor]) -> tuple[Tensor, Tensor | None, Sequence[Tensor]]:
        """Return the tapped output, the padding mask, and the activations that the next part takes."""
        padding = None
        if self.mask is not None:
            padding = self.mask(*carried)
        elif self.takes_mask:
            carried, padding = carried[:-1], carried[-1]
        tapped, further = run_part(self.part, carried)
        if padding is not None and self.gives_mask:
            further = (*further, padding)
        return tapped, padding, further


def carry_mask(sides: Sequence[SidePart], mask: nn.Module) -> None:
    """Let the first side part compute the padding mask from the network's inputs, and the others carry it over."""
    sides[0].mask = mask
    for side, following in pairwise(sides):
        side.gives_mask = following.takes_mask = True
        side.batch_dims = (*side.batch_dims, 0)
