"""Any network cut at the outputs of its modules, into parts that run one after the other.

The network is traced once by torch.export; a part is the nodes of that graph that its results need, on from what the
part before hands on. So nothing is asked of the network but that it can be exported, and the parts give the network's
outputs to the bit. (PyTorch's fused kernels for whole transformer layers, which round otherwise, are not in a traced
network.) No part computes what another has computed, but for what cannot be handed on example by example.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from difflib import get_close_matches
from io import StringIO
from itertools import pairwise
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx, nn

from ..utils.errors import InputError, require

_SYM_SIZE = torch.ops.aten.sym_size.int
_TOLERANCE = 1e-3  # of the outputs' size, of what rounding may do


class Part(nn.Module):
    """From what the part before hands on (the first: the network's inputs) to one result, and what it hands on itself.

    `batch_dim` says which dimension of the result counts the examples, `batch_dims` the same of what it hands on.
    `sizes` are those of the inputs it was made for, one of any number of examples being None.
    """

    def __init__(
        self, body: fx.GraphModule, sizes: Sequence[Sequence[int | None]], batch_dim: int, batch_dims: Sequence[int]
    ) -> None:
        super().__init__()
        self.body = body
        self.sizes = [tuple(each) for each in sizes]
        self.batch_dim = batch_dim
        self.batch_dims = tuple(batch_dims)

    def forward(self, *handed: Tensor) -> tuple[Tensor, ...]:
        """(result, *what it hands on). Raises InputError if inputs are of other sizes than it was made for."""
        for tensor, sizes in zip(handed, self.sizes, strict=True):
            given = tuple(tensor.shape)
            fits = len(given) == len(sizes) and all(b in (None, a) for a, b in zip(given, sizes, strict=True))
            require(fits, "inputs are of the size that the network was cut for", inputs=given, cut=sizes)
        made: tuple[Tensor, ...] = self.body(*handed)
        return made


def cut(net: nn.Module, taps: Sequence[str], inputs: Sequence[Tensor]) -> list[Part]:
    """A network in parts: the result of each is the output of the module that its tap names, of the last the network's.

    Taps are names as in `net.named_modules()`, in the order in which their outputs are made (the last ones, of modules
    that are called several times). `inputs` are examples of the network's, examples counted by their first dimension;
    the parts take any number of examples of these sizes. They share the network's weights. Puts the network into eval
    mode. Raises InputError.
    """
    require(len(set(taps)) == len(taps), "a tap is named once", taps=list(taps))
    require(all(len(each) for each in inputs), "an example or more", inputs=[tuple(each.shape) for each in inputs])
    marked = _Marked(net.eval(), taps)
    twice = tuple(torch.cat([each[:1]] * 2) for each in inputs)  # of one example, export would make a constant
    batch = torch.export.Dim("batch")
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # pages of the graph that could not be made
    try:
        with torch.no_grad(), redirect_stderr(StringIO()):
            program = torch.export.export(marked, twice, dynamic_shapes=(tuple({0: batch} for _ in twice),))
            whole = program.run_decompositions({}).module()  # in which nothing is changed in place
    except InputError:
        raise
    except Exception as error:  # whatever the network's code raises while it is traced
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{type(net).__name__} cannot be cut, since torch.export cannot follow it: {reason}") from None
    finally:
        logging.disable(disabled)
    _check_results(whole, taps)
    parts = list(_parts(whole))
    _check_output(net, parts, inputs)
    return parts


def _check_results(whole: fx.GraphModule, taps: Sequence[str]) -> None:
    """Raise InputError unless examples are counted in what taps' modules make, and one is made after the other."""
    results, order = _results(whole), {node: i for i, node in enumerate(whole.graph.nodes)}
    for tap, result in zip([*taps, "its output"], results, strict=True):
        if _batch_dim(result, _batch_size(whole)) is None:
            shape = tuple(result.meta["val"].shape)
            raise InputError(f"no dimension of {tap}, of the shape {shape}, counts the examples; tap another module")
    for (tap, result), (after, later) in pairwise(zip(taps, results, strict=False)):
        if order[result] > order[later]:
            raise InputError(f"taps are named in the order in which they are computed: {after} before {tap}")


@torch.no_grad()
def _check_output(net: nn.Module, parts: Sequence[Part], inputs: Sequence[Tensor]) -> None:
    """Raise InputError if the parts do not make what the network makes of its example inputs."""
    handed, output = inputs, net(*inputs)
    for part in parts:
        result, *handed = part(*handed)
    difference, size = ((each.abs().max() if each.numel() else 0) for each in (result.float() - output.float(), output))
    if difference > _TOLERANCE * max(1, size):
        raise InputError(
            f"{type(net).__name__} computes otherwise while it is traced (its outputs differ by {difference:.2g}); "
            "a torch.nn.TransformerEncoder needs enable_nested_tensor=False"
        )


class _Marked(nn.Module):
    """A network that also gives the outputs of some of its modules, as they were when they were made."""

    def __init__(self, net: nn.Module, taps: Sequence[str]) -> None:
        super().__init__()
        self.net = net
        self.taps = list(taps)
        names = dict(net.named_modules())
        for tap in taps:
            if not tap or tap not in names:
                near = get_close_matches(tap, filter(None, names), n=3) or [name for name in names if name][:3]
                raise InputError(f"{type(net).__name__} has no module {tap!r}; near it are {', '.join(near)}")

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        seen: dict[str, Tensor] = {}

        def see(tap: str, output: Any) -> None:
            if not isinstance(output, Tensor):
                raise InputError(f"the module {tap!r} gives a {type(output).__name__}, and not one tensor; tap another")
            seen[tap] = output.clone()

        modules = [self.net.get_submodule(tap) for tap in self.taps]
        hooks = [
            module.register_forward_hook(lambda m, i, output, tap=tap: see(tap, output))
            for tap, module in zip(self.taps, modules, strict=True)
        ]
        try:
            outputs = self.net(*inputs)
        finally:
            for hook in hooks:
                hook.remove()
        if unseen := [tap for tap in self.taps if tap not in seen]:
            raise InputError(f"the network does not call its module {unseen[0]!r}; tap another")
        if not isinstance(outputs, Tensor):
            raise InputError(f"a network to cut gives one tensor, not a {type(outputs).__name__}")
        return [*(seen[tap] for tap in self.taps), outputs]


def _parts(whole: fx.GraphModule) -> Iterator[Part]:
    """The parts of a graph that gives the clones of the taps' outputs, and the network's output."""
    results, size = _results(whole), _batch_size(whole)
    given = [node for node in whole.graph.nodes if node.op == "placeholder"]
    done: set[fx.Node] = set(given)
    for i, result in enumerate(results):
        done.update(_needed([result], set()))
        handed = [n for n in _needed(results[i + 1 :], done, size) if n in done and _batch_dim(n, size) is not None]
        dims = [_batch_dim(node, size) or 0 for node in (result, *handed)]
        sizes = [[None if isinstance(n, torch.SymInt) else n for n in node.meta["val"].shape] for node in given]
        yield Part(_copied(whole, given, [result, *handed], size), sizes, dims[0], dims[1:])
        given = handed


def _results(whole: fx.GraphModule) -> list[fx.Node]:
    """What the taps' modules made, and the network."""
    *marks, end = whole.graph.output_node().all_input_nodes
    return [*(mark.all_input_nodes[0] for mark in marks), end]


def _batch_size(whole: fx.GraphModule) -> Any:
    return next(node for node in whole.graph.nodes if node.op == "placeholder").meta["val"].shape[0]


def _needed(wanted: Sequence[fx.Node], done: set[fx.Node], size: Any = None) -> dict[fx.Node, None]:
    """The nodes that the wanted ones are made of, back to those that are done and count examples."""
    found: dict[fx.Node, None] = {}
    left = list(wanted)
    while left:
        node = left.pop()
        if node not in found:
            found[node] = None
            stop = _is_size(node, size) or (node in done and _batch_dim(node, size) is not None)
            left += [] if stop else node.all_input_nodes
    return found


def _copied(whole: fx.GraphModule, given: list[fx.Node], wanted: list[fx.Node], size: Any) -> fx.GraphModule:
    """The graph from the given nodes to the wanted ones.

    It keeps the network's tensors flat: to look one up in nested modules takes as long as a small convolution.
    """
    graph = fx.Graph()
    tensors: dict[str, Any] = {}
    made = {node: graph.placeholder(node.name) for node in given}
    needed = _needed(wanted, set(given), size)
    for node in whole.graph.nodes:
        if node not in needed or node in made:
            continue
        if _is_size(node, size):  # of the batch that is there, whatever it was taken from
            made[node] = graph.call_function(_SYM_SIZE, (made[given[0]], _batch_dim(given[0], size)))
        elif node.op == "get_attr":
            tensors[node.name] = attrgetter(node.target)(whole)
            made[node] = graph.get_attr(node.name)
        else:
            made[node] = graph.node_copy(node, made.__getitem__)
    graph.output(tuple(made[node] for node in wanted))
    return fx.GraphModule(tensors, graph)


def _is_size(node: fx.Node, size: Any) -> bool:
    """Whether it is the number of examples."""
    value = node.meta.get("val")
    return isinstance(value, torch.SymInt) and node.target == _SYM_SIZE and value == size


def _batch_dim(node: fx.Node, size: Any) -> int | None:
    """The dimension of a node's tensor that counts examples, if one does."""
    value = node.meta.get("val")
    if not isinstance(value, Tensor):
        return None
    return next((d for d, side in enumerate(value.shape) if isinstance(side, torch.SymInt) and side == size), None)
