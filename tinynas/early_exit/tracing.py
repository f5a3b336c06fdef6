"""Trace a network together with the outputs of some of its modules."""

import logging
from collections.abc import Sequence
from contextlib import redirect_stderr
from difflib import get_close_matches
from functools import partial
from io import StringIO
from itertools import chain
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.parameter import is_lazy

from ..utils.errors import InputError
from ..utils.quiet import logging_disabled
from .inputs import NetworkCall
from .outputs import tapped_tensor


def trace_with_taps(net: nn.Module, taps: Sequence[str], inputs: Sequence[Tensor], call: NetworkCall) -> fx.GraphModule:
    """Trace a network for any number of examples, without operators that change a tensor in place.

    Args:
        net: The network.
        taps: Names of some of its modules.
        inputs: Example inputs.
        call: How the network is called with them.

    Returns:
        A graph that returns copies of the taps' outputs, and the network's output.

    Raises:
        InputError: torch.export cannot trace the network, or a tap is not a module that returns a tensor.
    """
    tapped = _Tapped(net, taps, call)
    examples = tuple(torch.cat([tensor[:1], tensor[:1]]) for tensor in inputs)  # a single one would become a constant
    batch = torch.export.Dim("batch")
    shapes = tuple({0: batch} for _ in examples)
    try:
        with torch.no_grad(), logging_disabled(logging.WARNING), redirect_stderr(StringIO()):
            program = torch.export.export(tapped, examples, dynamic_shapes=(shapes,))
            module: fx.GraphModule = program.run_decompositions({}).module()
    except InputError:
        raise
    except Exception as error:  # any exception that the network's own code raises while it is traced
        name = type(net).__name__
        raise InputError(f"{name} cannot be split, because torch.export cannot trace it: {first_line(error)}") from None
    return module


def first_line(error: Exception) -> str:
    """Return the first line of an exception's message, or its type if it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


class _Tapped(nn.Module):
    """A network that also returns copies of the outputs of some of its modules.

    They are copied at once, because later modules may change them in place.
    """

    def __init__(self, net: nn.Module, taps: Sequence[str], call: NetworkCall) -> None:
        super().__init__()
        self.net, self.taps, self.call = net, list(taps), call

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        copies: dict[str, Tensor] = {}
        hooks = []
        for tap in self.taps:
            hook = partial(_copy_output, copies, tap)
            hooks.append(self.net.get_submodule(tap).register_forward_hook(hook))
        try:
            output = self.call.run(self.net, inputs)
        finally:
            for handle in hooks:
                handle.remove()
        results = []
        for tap in self.taps:
            if tap not in copies:
                raise InputError(f"the network does not call its module {tap!r}; tap another module")
            results.append(copies[tap])
        results.append(output)
        return results


def check_network(net: nn.Module, taps: Sequence[str]) -> None:
    """Raise InputError unless a network is a Python module that can be traced and has modules of these names."""
    name = type(net).__name__
    if not isinstance(net, nn.Module):
        raise InputError(f"a network to split must be a torch.nn.Module, but is a {name}; wrap it in one")
    for module in net.modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise InputError(
                f"torch.export cannot follow TorchScript, as in {name}; pass the network that it was compiled from"
            )
    for parameter, tensor in chain(net.named_parameters(), net.named_buffers()):
        if is_lazy(tensor):
            raise InputError(
                f"the shape of {parameter} is not known, because {name} has lazy layers; run it once on example inputs"
            )
    for tap in taps:
        _check_module(net, tap)


def _check_module(net: nn.Module, name: str) -> None:
    """Raise InputError unless the network has a module of this name."""
    names = [known for known, _ in net.named_modules() if known]
    if name not in names:
        near = get_close_matches(name, names, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else f"its first modules are {', '.join(names[:3])}"
        raise InputError(f"{type(net).__name__} has no module {name!r}; {hint}")


def _copy_output(copies: dict[str, Tensor], tap: str, module: nn.Module, inputs: Any, output: Any) -> None:
    copies[tap] = tapped_tensor(output, tap).clone()
