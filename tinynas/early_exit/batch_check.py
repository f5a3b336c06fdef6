"""Whether a network treats every example by itself, as it must if some of them exit before the others."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..utils.errors import InputError
from .graph_split import TOLERANCE, Part, largest_value, run_part

_EPS = 16  # allowed difference by rounding in other batches, in units of the number type's precision


@torch.no_grad()
def check_independent(net: str, taps: Sequence[str], parts: Sequence[Part], inputs: Sequence[Tensor]) -> None:
    """Raise InputError if an example's results depend on the other examples of its batch.

    Args:
        net: What the network is called in the message.
        taps: The tapped modules.
        parts: The parts of the network.
        inputs: Example inputs; if there is only one example, or all are equal, another one is derived from it.
    """
    pair = [_pair(tensor) for tensor in inputs]
    for number in (0, 1):  # what looks at the first or the largest of a batch shows in one of them only
        _check_example(net, taps, parts, pair, number)


def _check_example(net: str, taps: Sequence[str], parts: Sequence[Part], pair: Sequence[Tensor], number: int) -> None:
    """Raise InputError if the results of one of two examples differ from those that it has alone."""
    names = [f"the output of {tap}" for tap in taps]
    names.append("its output")
    alone: Sequence[Tensor] = [tensor[number : number + 1] for tensor in pair]
    together = pair
    for part, name in zip(parts, names, strict=True):
        result, alone = run_part(part, alone)
        both, together = run_part(part, together)
        difference = largest_value(both.narrow(part.batch_dim, number, 1).float() - result.float())
        precision = torch.finfo(result.dtype).eps if result.is_floating_point() else 0.0
        if difference > max(TOLERANCE, _EPS * precision) * max(1, largest_value(result)):
            raise InputError(
                f"{net} cannot have early exits, because {name} for an example depends on the others of its batch "
                f"(differs by {difference:.2g}), so its answers would depend on which of them exit"
            )


def _pair(tensor: Tensor) -> Tensor:
    """Return two different examples (2, ...) from examples (N, ...), as far as they can be made different."""
    first = tensor[:1]
    for number in range(1, len(tensor)):
        if not torch.equal(tensor[0], tensor[number]):
            return tensor[[0, number]]
    if not tensor.is_floating_point():
        return torch.cat([first, first.roll(1, -1)])
    noise = torch.randn(first.shape, generator=torch.Generator().manual_seed(0)).to(first)
    return torch.cat([first, first + noise])
