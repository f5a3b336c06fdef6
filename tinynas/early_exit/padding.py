"""Which places of a sequence are padding, so that side heads average over the others."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..utils.errors import InputError, suggestion
from .inputs import NetworkCall

AUTO = "auto"
_ATTENTION = "attention_mask"  # transformers': not 0 where a place counts
_PADDING = "padding_mask"  # torch's, such as src_key_padding_mask: True where a place is padding

PaddingFunction = Callable[..., Tensor]


class InputMask(nn.Module):
    """The padding mask among a network's inputs.

    Args:
        position: Which of the inputs it is.
        marks_padding: Whether it is nonzero at padding, as in torch, or at all other places, as in transformers.
    """

    def __init__(self, position: int, marks_padding: bool) -> None:
        super().__init__()
        self.position, self.marks_padding = position, marks_padding

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return whether each place is padding, (N, S), from the network's inputs."""
        mask = inputs[self.position]
        return mask != 0 if self.marks_padding else mask == 0


class ComputedMask(nn.Module):
    """A padding mask that a function computes from a network's inputs.

    Args:
        function: Called as the network is; returns whether each place is padding, (N, S).
        call: How the network is called.
    """

    def __init__(self, function: PaddingFunction, call: NetworkCall) -> None:
        super().__init__()
        self.function, self.call = function, call

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return whether each place is padding, (N, S), from the network's inputs."""
        if self.call.names is None:
            return self.function(*inputs)
        return self.function(**self.call.keywords(inputs))


def padding_mask(
    padding: str | PaddingFunction | None, net: nn.Module, call: NetworkCall, inputs: Sequence[Tensor]
) -> nn.Module | None:
    """Return the module that reads or computes the padding mask (N, S) from a network's inputs, or None.

    Args:
        padding: "auto", which finds a mask among the inputs by its name; the name of an input; a function of the
            inputs; or None, no mask.
        net: The network.
        call: How it is called.
        inputs: Example inputs.

    Raises:
        InputError: There is no such input, more than one could be the mask, or the mask is not (N, S).
    """
    if padding is None:
        return None
    if isinstance(padding, str):
        return _input_mask(padding, call.parameter_names(net), inputs)
    if not callable(padding):
        raise InputError(f"padding must be the name of an input, a function of the inputs, or None, but is {padding!r}")
    mask = ComputedMask(padding, call)
    with torch.no_grad():
        _check_computed(mask(*inputs), len(inputs[0]))
    return mask


def _input_mask(padding: str, names: Sequence[str], inputs: Sequence[Tensor]) -> InputMask | None:
    """Return the mask that is the input of this name, or that "auto" finds, if any."""
    name = padding
    if padding == AUTO:
        masks = [known for known in names if known == _ATTENTION or known.endswith(_PADDING)]
        if not masks:
            return None
        if len(masks) > 1:
            raise InputError(f"several inputs could be the padding mask: {', '.join(masks)}; name it with padding=")
        name = masks[0]
    if name not in names:
        raise InputError(f"padding must be the name of an input, but is {name!r}; {suggestion(name, names)}")
    position = list(names).index(name)
    shape = tuple(inputs[position].shape)
    if len(shape) != 2:
        raise InputError(
            f"the padding mask {name} must be (N, S), but has the shape {shape}; pass a function of the inputs as "
            "padding, or padding=None to average over all places"
        )
    return InputMask(position, marks_padding="padding" in name)


def _check_computed(mask: Any, examples: int) -> None:
    """Raise InputError unless the result of a function is a mask (N, S) of booleans."""
    if isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.ndim == 2 and len(mask) == examples:
        return
    content = f"{mask.dtype} of the shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
    raise InputError(f"padding must return booleans (N, S), True at padding, for N = {examples}, but returns {content}")


def check_places(tap: str, shape: Sequence[int], not_places: Sequence[int], mask: Tensor) -> None:
    """Raise InputError unless a tapped output has as many places as a padding mask (N, S).

    Args:
        tap: The tapped module.
        shape: Shape of its output.
        not_places: The dimensions that count examples and features. An output (N, C) has no places.
        mask: The padding mask.
    """
    places = [size for dim, size in enumerate(shape) if dim not in not_places]
    if places and places != [mask.shape[1]]:
        raise InputError(
            f"the padding mask has {mask.shape[1]} places for each example, but the output of {tap} has the shape "
            f"{tuple(shape)}; pass a function as padding, or padding=None to average over all places"
        )
