"""Split any network at the outputs of chosen modules into parts that run one after another.

torch.export traces the network once. A part consists of the graph's nodes that its result depends on, starting from the
activations that the previous part carries over. So the network only has to be exportable, and the parts reproduce its
outputs to the bit. (A traced network does not use PyTorch's fused kernels for transformer layers, which round
differently.) Nothing is computed twice, except for what has no batch dimension and so cannot be carried per example.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.symbolic_shapes import statically_known_true

from ..utils.errors import InputError
from .inputs import NetworkCall
from .layout import feature_dim
from .tracing import check_network, first_line, trace_with_taps

_SYM_SIZE = torch.ops.aten.sym_size.int
TOLERANCE = 1e-3  # allowed difference by rounding, relative to the largest output if that is over 1


class Part(nn.Module):
    """One part of a split network.

    It takes the activations that the previous part carries over (the first part takes the network's inputs). It returns
    its result, then the activations that later parts need.

    Attributes:
        body: The graph of the part.
        sizes: Shape of each input; None stands for any number of examples.
        batch_dim: Dimension of the result that counts the examples.
        batch_dims: The same for each carried activation.
        feature_dim: Dimension of the result that counts features; None if no operator of the network shows it.
    """

    def __init__(
        self,
        body: fx.GraphModule,
        sizes: Sequence[Sequence[int | None]],
        batch_dim: int,
        batch_dims: Sequence[int],
        feature_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.body = body
        self.sizes = [tuple(shape) for shape in sizes]
        self.batch_dim = batch_dim
        self.batch_dims = tuple(batch_dims)
        self.feature_dim = feature_dim

    def forward(self, *carried: Tensor) -> tuple[Tensor, ...]:
        """Return (result, carried activations ...).

        Raises:
            InputError: The inputs have other sizes than the network was split for.
        """
        for tensor, shape in zip(carried, self.sizes, strict=True):
            _check_shape(tuple(tensor.shape), shape)
        outputs: tuple[Tensor, ...] = self.body(*carried)
        return outputs


def run_part(part: nn.Module, carried: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
    """Run a part on carried activations; return its result and the activations that it carries over itself."""
    outputs = part(*carried)
    return outputs[0], outputs[1:]


def split_network(
    net: nn.Module, taps: Sequence[str], inputs: Sequence[Tensor], call: NetworkCall | None = None
) -> list[Part]:
    """Split a network at the outputs of some of its modules.

    The parts share the network's weights, and the network is frozen and set to eval mode.

    Args:
        net: A network that torch.export can trace.
        taps: Names as in `net.named_modules()`, in the order in which the modules' outputs are computed. If a module is
            called several times, its last output counts; of a tuple, the first entry.
        inputs: Example inputs whose first dimension counts the examples. The parts accept any number of examples of
            these sizes.
        call: How the network is called with them, and where its output is in what it returns; by default by position,
            and a tensor or its attribute `logits`.

    Returns:
        One part for each tap, whose result is the output of that module, and a last one that returns the network's
        output.

    Raises:
        InputError: The network fails on the inputs, cannot be traced or returns no tensor, or a tap is not a module
            whose output has a batch dimension.
    """
    if len(set(taps)) < len(taps):
        raise InputError(
            f"every tap must be a different module, but the taps are {', '.join(taps)}; remove the duplicate"
        )
    if not all(map(len, inputs)):
        raise InputError("a network is split by example inputs, but a tensor has no example; pass at least one")
    check_network(net, taps)
    call = call or NetworkCall(len(inputs))
    expected = _output(net.eval().requires_grad_(False), inputs, call)
    graph = trace_with_taps(net, taps, inputs, call)
    _check_results(graph, taps)
    parts = list(_parts(graph))
    _check_output(net, parts, inputs, expected)
    return parts


def _check_shape(shape: tuple[int, ...], expected: Sequence[int | None]) -> None:
    """Raise InputError unless the sizes are the expected ones; None accepts any size."""
    fits = len(shape) == len(expected)
    for size, wanted in zip(shape, expected, strict=False):
        fits = fits and wanted in (None, size)
    if not fits:
        raise InputError(
            f"inputs must have the size that the network was split for: {expected} (None: any), but have {shape}; "
            "split it again with inputs of that size"
        )


def _check_results(graph: fx.GraphModule, taps: Sequence[str]) -> None:
    """Raise InputError unless every result has a batch dimension and the taps are in the order of computation."""
    results, size = _results(graph), _batch_size(graph)
    for tap, result in zip(taps, results, strict=False):
        _check_batch_dim(f"the output of {tap}", result, size)
    _check_batch_dim("the network's output", results[-1], size)
    order = {node: number for number, node in enumerate(graph.graph.nodes)}
    for (first, earlier), (second, later) in pairwise(zip(taps, results, strict=False)):
        if order[earlier] > order[later]:
            raise InputError(f"taps must be in the order of computation; name {second} before {first}")


def _check_batch_dim(name: str, result: fx.Node, size: Any) -> None:
    if _batch_dim(result, size) is None:
        shape = tuple(result.meta["val"].shape)
        raise InputError(f"{name} has the shape {shape}, no dimension of which counts the examples; tap another module")


@torch.no_grad()
def _output(net: nn.Module, inputs: Sequence[Tensor], call: NetworkCall) -> Tensor:
    """Return the network's output for its example inputs. Raises InputError if it fails on them."""
    try:
        return call.run(net, inputs)
    except InputError:
        raise
    except Exception as error:  # any exception of the network's own code
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in inputs)
        raise InputError(
            f"{type(net).__name__} fails on its example inputs of the shapes {shapes}: {first_line(error)}"
        ) from error


@torch.no_grad()
def _check_output(net: nn.Module, parts: Sequence[Part], inputs: Sequence[Tensor], expected: Tensor) -> None:
    """Raise InputError unless the parts reproduce the network's output for its example inputs."""
    carried = inputs
    for part in parts:
        result, carried = run_part(part, carried)
    difference, largest = largest_value(result.float() - expected.float()), largest_value(expected)
    if difference > TOLERANCE * max(1, largest):
        raise InputError(
            f"{type(net).__name__} computes something else when it is traced (its outputs differ by {difference:.2g}); "
            "a torch.nn.TransformerEncoder needs enable_nested_tensor=False"
        )


def largest_value(tensor: Tensor) -> float:
    """Return the largest absolute value of a tensor, 0 if it is empty."""
    return float(tensor.abs().max()) if tensor.numel() else 0.0


def _parts(graph: fx.GraphModule) -> Iterator[Part]:
    """Yield the parts of a graph that returns the copies of the taps' outputs and the network's output."""
    results, size = _results(graph), _batch_size(graph)
    sources = [node for node in graph.graph.nodes if node.op == "placeholder"]
    computed: set[fx.Node] = set(sources)
    for number, result in enumerate(results):
        computed.update(_dependencies([result], set()))
        outputs, batch_dims = [result], [_batch_dim(result, size) or 0]
        for node in _dependencies(results[number + 1 :], computed, size):
            dim = _batch_dim(node, size)
            if node in computed and dim is not None:
                outputs.append(node)
                batch_dims.append(dim)
        body = _subgraph(graph, sources, outputs, size)
        sizes = [_static_shape(node) for node in sources]
        yield Part(body, sizes, batch_dims[0], batch_dims[1:], feature_dim(result, batch_dims[0]))
        sources = outputs[1:]


def _static_shape(node: fx.Node) -> list[int | None]:
    """Return the shape of a node's tensor, with None where it depends on the number of examples."""
    return [None if isinstance(size, torch.SymInt) else size for size in node.meta["val"].shape]


def _results(graph: fx.GraphModule) -> list[fx.Node]:
    """Return the nodes of the taps' outputs, not of their copies, and the node of the network's output."""
    results = list(graph.graph.output_node().all_input_nodes)
    for number, copy in enumerate(results[:-1]):
        results[number] = copy.all_input_nodes[0]
    return results


def _batch_size(graph: fx.GraphModule) -> Any:
    """Return the symbol that torch.export uses for the number of examples."""
    inputs = (node for node in graph.graph.nodes if node.op == "placeholder")
    return next(inputs).meta["val"].shape[0]


def _dependencies(targets: Iterable[fx.Node], computed: set[fx.Node], size: Any = None) -> dict[fx.Node, None]:
    """Return the targets and the nodes that they depend on, as the keys of an ordered dictionary.

    The walk stops at nodes that are computed already and can be carried over, and at the number of examples.
    """
    visited: dict[fx.Node, None] = {}
    pending = list(targets)
    while pending:
        node = pending.pop()
        if node in visited:
            continue
        visited[node] = None
        is_carried = node in computed and _batch_dim(node, size) is not None
        if not is_carried and not _is_batch_size(node, size):
            pending += node.all_input_nodes
    return visited


def _subgraph(graph: fx.GraphModule, sources: list[fx.Node], targets: list[fx.Node], size: Any) -> fx.GraphModule:
    """Copy the nodes between sources and targets into a graph of their own.

    It keeps the network's tensors flat, since a lookup in nested modules takes as long as a small convolution.
    """
    copied = fx.Graph()
    tensors: dict[str, Any] = {}
    copy_of = {node: copied.placeholder(node.name) for node in sources}
    needed = _dependencies(targets, set(sources), size)
    for node in graph.graph.nodes:
        if node not in needed or node in copy_of:
            continue
        if _is_batch_size(node, size):  # of the current inputs, whichever tensor it was read from
            copy_of[node] = copied.call_function(_SYM_SIZE, (copy_of[sources[0]], _batch_dim(sources[0], size)))
        elif node.op == "get_attr":
            tensors[node.name] = attrgetter(node.target)(graph)
            copy_of[node] = copied.get_attr(node.name)
        else:
            copy_of[node] = copied.node_copy(node, copy_of.__getitem__)
    copied.output(tuple(copy_of[node] for node in targets))
    return fx.GraphModule(tensors, copied)


def _is_batch_size(node: fx.Node, size: Any) -> bool:
    """Return whether a node is the number of examples."""
    value = node.meta.get("val")
    return isinstance(value, torch.SymInt) and node.target == _SYM_SIZE and statically_known_true(value == size)


def _batch_dim(node: fx.Node, size: Any) -> int | None:
    """Return the dimension of a node's tensor that counts the examples, or None."""
    value = node.meta.get("val")
    if isinstance(value, Tensor):
        for dim, side in enumerate(value.shape):
            if isinstance(side, torch.SymInt) and statically_known_true(side == size):
                return dim
    return None
