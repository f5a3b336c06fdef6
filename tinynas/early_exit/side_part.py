"""A part of a network with a side head on its result."""

from collections.abc import Sequence

from torch import Tensor, nn

from .graph_split import Part, run_part
from .side_head import SideHead


class SidePart(nn.Module):
    """A part of a network with a side head on its result.

    If sequences are padded, the first part computes the padding mask (N, S) from the network's inputs, and the parts
    carry it over as the last of their activations until the last side head.

    Args:
        part: The part.
        head: Its side head.
        mask: Computes the padding mask, in the first part.
        takes_mask: Whether the previous part carries over a padding mask.
        gives_mask: Whether the next part takes it.

    Attributes:
        batch_dims: Dimension of each carried activation that counts the examples.
    """

    def __init__(
        self,
        part: Part,
        head: SideHead,
        *,
        mask: nn.Module | None = None,
        takes_mask: bool = False,
        gives_mask: bool = False,
    ) -> None:
        super().__init__()
        self.part, self.head, self.mask = part, head, mask
        self.takes_mask, self.gives_mask = takes_mask, gives_mask
        self.batch_dims = part.batch_dims + ((0,) if gives_mask else ())

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
