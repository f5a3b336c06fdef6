"""How a network is called: its inputs by position or by name, and its logits in what it returns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

from torch import Tensor, nn

from ..utils.errors import InputError, some_names, suggestion
from .outputs import output_tensor

Inputs = Tensor | Sequence[Tensor] | Mapping[str, Tensor]  # of a network: one, several, or several by name
Batches = Iterable[Sequence[Any]]  # of each batch: the inputs (N, ...) or a mapping of them, then the labels (N,)


@dataclass(frozen=True)
class NetworkCall:
    """How a network is called with its inputs.

    Attributes:
        count: Number of inputs.
        names: The names of the inputs, by which they are passed; None if they are passed by position.
        output: Where the logits are in what the network returns, unless that is a tensor: an attribute, a key, or the
            index in a tuple.
    """

    count: int = 1
    names: tuple[str, ...] | None = None
    output: str | int = "logits"

    def tensors(self, inputs: Sequence[Any], named: Mapping[str, Any]) -> list[Tensor]:
        """Return the inputs in their order, from the arguments of a call.

        A mapping as the only positional argument stands for its items as keyword arguments.

        Raises:
            InputError: An input is missing, unknown, not a tensor (N, ...), or of another length than the others, or
                there are no examples.
        """
        for mapping in inputs:
            if isinstance(mapping, Mapping) and len(inputs) == 1 and not named:
                return self.tensors((), mapping)
        tensors = self._by_position(inputs, named) if self.names is None else self._by_name(inputs, named)
        check_inputs(dict(zip(self.input_names, tensors, strict=True)))
        return tensors

    def batch(self, batch: Sequence[Any]) -> tuple[list[Tensor], Any]:
        """Return the inputs and the labels of a batch (inputs ..., labels) or (mapping of inputs, labels)."""
        if isinstance(batch, Mapping) or not isinstance(batch, tuple | list) or len(batch) < 2:
            raise InputError(
                f"a batch must be (inputs ..., labels) or (mapping of inputs, labels), but is {described(batch)}"
            )
        return self.tensors(batch[:-1], {}), batch[-1]

    def run(self, net: nn.Module, tensors: Sequence[Tensor]) -> Tensor:
        """Call a network on its inputs; return its logits (N, classes).

        Raises:
            InputError: The network returns no tensor where `output` says.
        """
        returned = net(*tensors) if self.names is None else net(**self.keywords(tensors))
        return output_tensor(returned, self.output, type(net).__name__)

    def keywords(self, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the inputs by their names."""
        return dict(zip(self.names or (), tensors, strict=True))

    @property
    def input_names(self) -> list[str]:
        """What the inputs are called in messages."""
        if self.names is not None:
            return list(self.names)
        return ["the input"] if self.count == 1 else [f"input {number}" for number in range(1, self.count + 1)]

    def parameter_names(self, net: nn.Module) -> list[str]:
        """Return the names of the inputs, or of the parameters of the network's `forward` that take them."""
        if self.names is not None:
            return list(self.names)
        parameters = signature(net.forward).parameters.values()
        return [parameter.name for parameter in parameters if parameter.kind != parameter.KEYWORD_ONLY][: self.count]

    def _by_position(self, inputs: Sequence[Any], named: Mapping[str, Any]) -> list[Tensor]:
        if named:
            names = some_names(list(named))
            raise InputError(f"the network was built with inputs by position; pass {names} by position, too")
        if len(inputs) != self.count:
            raise InputError(f"the network was built with {self.count} inputs, but got {len(inputs)}; pass all of them")
        return list(inputs)

    def _by_name(self, inputs: Sequence[Any], named: Mapping[str, Any]) -> list[Tensor]:
        names = self.names or ()
        if inputs:
            raise InputError(f"the network was built with inputs by name; pass {', '.join(names)} by name, too")
        for name in named:
            if name not in names:
                raise InputError(f"the network was built without an input {name!r}; {suggestion(name, names)}")
        missing = [name for name in names if name not in named]
        if missing:
            raise InputError(f"the network was built with the input {missing[0]!r}, which is missing; pass it as well")
        return [named[name] for name in names]


def example_call(inputs: Inputs, output: str | int) -> tuple[NetworkCall, list[Tensor]]:
    """Return how a network is called with inputs like these examples, and the examples in their order.

    Raises:
        InputError: An input is not a tensor (N, ...), or of another length than the others, or there are no examples.
    """
    if isinstance(inputs, Mapping):
        call = NetworkCall(len(inputs), tuple(map(str, inputs)), output)
        return call, call.tensors((), inputs)
    several = list(inputs) if isinstance(inputs, tuple | list) else [inputs]
    call = NetworkCall(len(several), None, output)
    return call, call.tensors(several, {})


def check_inputs(inputs: Mapping[str, Any]) -> None:
    """Raise InputError unless all inputs are tensors of the same number of examples, of which there are some."""
    if not inputs:
        raise InputError("a network needs inputs, but there are none; pass at least one tensor")
    lengths = {}
    for name, tensor in inputs.items():
        if not isinstance(tensor, Tensor):
            advice = "convert it with torch.from_numpy, or ask a tokenizer for return_tensors='pt'"
            raise InputError(f"{name} must be a tensor (N, ...), but is {described(tensor)}; {advice}")
        if tensor.ndim == 0:
            raise InputError(
                f"{name} must be a tensor (N, ...), but has no dimension; the first one counts the examples"
            )
        lengths[name] = len(tensor)
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise InputError(f"all inputs must have the same number of examples, but have: {counts}; pass as many of each")
    if 0 in lengths.values():
        shape = tuple(next(iter(inputs.values())).shape)
        raise InputError(f"{next(iter(inputs))} has no example, its shape is {shape}; pass at least one")


def described(value: object) -> str:
    """Return what a value is, for a message, such as "a numpy.ndarray of the shape (3, 4)"."""
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
    if isinstance(value, Tensor):
        name = "a tensor"
    elif isinstance(value, Mapping):
        return f"a {name} with {some_names(list(map(str, value)))}"
    elif isinstance(value, tuple | list):
        return f"a {name} of {len(value)}"
    else:
        name = f"a {name}"
    shape = getattr(value, "shape", None)
    return name if shape is None else f"{name} of the shape {tuple(shape)}"
