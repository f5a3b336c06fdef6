"""Names of a network's inputs."""

import inspect

from torch import nn

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def argument_names(net: nn.Module, count: int) -> tuple[str, ...]:
    """Return the names of the first arguments that a network takes; of those without a name input1, input2, ..."""
    names = []
    for name, parameter in inspect.signature(net.forward).parameters.items():
        if parameter.kind in _POSITIONAL:
            names.append(name)
    for number in range(len(names), count):
        names.append(f"input{number + 1}")
    return tuple(names[:count])
