"""The tensor that counts in what a network or one of its modules returns."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..utils.errors import InputError, some_names


def output_tensor(returned: Any, output: str | int, net: str) -> Tensor:
    """Return the logits in what a network returns.

    Args:
        returned: A tensor; or an object or mapping with the logits; or a tuple.
        output: Where the logits are, unless it is a tensor: an attribute or key, or the index in a tuple.
        net: What the network is called in messages.

    Raises:
        InputError: There is no tensor; the message says what is there.
    """
    if isinstance(returned, Tensor):
        return returned
    tensor = None
    if isinstance(returned, Mapping):
        tensor = returned.get(output)
    elif isinstance(output, str):
        tensor = getattr(returned, output, None)
    elif isinstance(returned, tuple | list) and -len(returned) <= output < len(returned):
        tensor = returned[output]
    if not isinstance(tensor, Tensor):
        raise InputError(f"{net} returns {_content(returned)}, but no tensor {output!r}; {_advice(returned)}")
    return tensor


def tapped_tensor(returned: Any, tap: str) -> Tensor:
    """Return the output of a tapped module: a tensor, or the first one in a tuple.

    Raises:
        InputError: There is no tensor.
    """
    first = returned[0] if isinstance(returned, tuple | list) and returned else returned
    if not isinstance(first, Tensor):
        raise InputError(f"the module {tap!r} returns {_content(returned)}, not a tensor; tap another module")
    return first


def _content(returned: Any) -> str:
    """Return what a network's output is and has, for a message."""
    name = f"a {type(returned).__name__}"
    if isinstance(returned, tuple | list):
        kinds = [type(entry).__name__ for entry in returned]
        return f"{name} of {some_names(kinds)}" if kinds else f"{name} of nothing"
    names = _names(returned)
    return f"{name} with {some_names(names)}" if names else name


def _names(returned: Any) -> list[str]:
    """Return the names of what an object or a mapping holds."""
    return list(map(str, returned if isinstance(returned, Mapping) else getattr(returned, "__dict__", ())))


def _advice(returned: Any) -> str:
    """Return how to say where the logits are."""
    if isinstance(returned, tuple | list):
        return "choose an entry by its index, such as output=0"
    names = _names(returned)
    return f"name the logits, such as output={names[-1]!r}" if names else "pass a network that returns tensors"
