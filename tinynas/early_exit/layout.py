"""Find which dimension of a tensor in a traced network counts features, from the operators around it.

A convolution has its channels in dimension 1, a linear layer or a layer norm in the last one. Between the tensor and
such an operator the dimensions may be permuted, as in networks that compute on maps (N, H, W, C).
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import fx

# ATen operators by name. Features are dimension 1 of what these read and return:
_CHANNELS_FIRST = {
    "conv1d",
    "conv2d",
    "conv3d",
    "batch_norm",
    "_native_batch_norm_legit_no_training",
    "group_norm",
    "instance_norm",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "max_pool1d",
    "max_pool2d",
    "upsample_nearest2d",
    "upsample_bilinear2d",
}
_FACTORS = {"linear": (0, 1), "matmul": (0, 1), "mm": (0, 1), "addmm": (1, 2)}  # positions of the input and the weight
_NORMS = {"layer_norm", "rms_norm", "_fused_rms_norm"}
_AVERAGES = {"mean", "amax"}
_RESHAPES = {"view", "_unsafe_view", "reshape", "unsqueeze", "squeeze"}
_SAME_DIMS = {  # and all pointwise operators
    "clone",
    "contiguous",
    "dropout",
    "slice",
    "pad",
    "constant_pad_nd",
    "roll",
    "cat",
    "expand",
    "split",
    "split_with_sizes",
    "chunk",
    "getitem",
}


def feature_dim(tapped: fx.Node, batch_dim: int) -> int | None:
    """Return the dimension of a tensor that counts features, or None if no operator shows it.

    The first operator that reads features from the tensor decides; if there is none, the last one that wrote some.

    Args:
        tapped: The tensor's node in a graph of torch.export.
        batch_dim: The dimension that counts examples.
    """
    dim = _read(tapped, batch_dim)
    if dim is None:
        dim = _written(tapped)
    return None if dim == batch_dim else dim


def _read(tapped: fx.Node, batch_dim: int) -> int | None:
    """Return the dimension of a tensor that the first operator after it reads as features."""
    dims_of: dict[fx.Node, list[int | None]] = {tapped: list(range(_rank(tapped)))}
    node = tapped.next
    while node.op != "root":
        for source in node.all_input_nodes:
            dims = dims_of.get(source)
            if dims is None or node in dims_of:
                continue
            dim = _dim_read(node, source, dims, batch_dim)
            if dim is not None:
                return dim
            origins = _origins(node, source)
            if origins:
                dims_of[node] = [None if origin is None else dims[origin] for origin in origins]
        node = node.next
    return None


def _written(tapped: fx.Node) -> int | None:
    """Return the dimension of a tensor in which the last operator before it has written features."""
    dims_of: dict[fx.Node, list[int | None]] = {tapped: list(range(_rank(tapped)))}
    node = tapped
    while node.op != "root":
        dims = dims_of.get(node)
        if dims is not None:
            written = _dim_written(node)
            if written is not None:
                return dims[written]
            for source in node.all_input_nodes:
                origins = _origins(node, source)
                if origins:
                    dims_of.setdefault(source, _inverted(origins, dims, _rank(source)))
        node = node.prev
    return None


def _inverted(origins: Sequence[int | None], dims: Sequence[int | None], rank: int) -> list[int | None]:
    """Return which dimensions of the tapped tensor an operator's input has, from those that its output has."""
    inverted: list[int | None] = [None] * rank
    for origin, dim in zip(origins, dims, strict=True):
        if origin is not None:
            inverted[origin] = dim
    return inverted


def _dim_read(node: fx.Node, source: fx.Node, dims: Sequence[int | None], batch_dim: int) -> int | None:
    """Return which dimension of the tapped tensor an operator reads as features, or None.

    Args:
        node: The operator.
        source: The input of the operator that was computed from the tapped tensor.
        dims: The dimension of the tapped tensor that each dimension of this input is, or None.
        batch_dim: The dimension of the tapped tensor that counts examples.
    """
    name = _name(node)
    if name in _CHANNELS_FIRST and node.args[0] is source:
        return dims[1]
    if _normalises_last(node) and node.args[0] is source:
        return dims[-1]
    if _has_weight(node) and node.args[_FACTORS[name][0]] is source:
        return dims[-1]
    return _dim_kept(node, dims, batch_dim) if name in _AVERAGES else None


def _dim_kept(node: fx.Node, dims: Sequence[int | None], batch_dim: int) -> int | None:
    """Return the only dimension over which global pooling does not average, or None."""
    if len(node.args) < 2:
        return None  # the mean of everything
    averaged = [dim % len(dims) for dim in _integers(node.args[1])]
    if len(averaged) == 1 and _rank(node) == len(dims):
        return None  # more likely a norm's mean over the features
    kept = [dim for position, dim in enumerate(dims) if position not in averaged and dim != batch_dim]
    return kept[0] if len(kept) == 1 else None


def _dim_written(node: fx.Node) -> int | None:
    """Return the dimension of an operator's output in which it writes features, or None."""
    name = _name(node)
    if name in _CHANNELS_FIRST:
        return 1
    return -1 if name == "embedding" or _normalises_last(node) or _has_weight(node) else None


def _normalises_last(node: fx.Node) -> bool:
    """Return whether an operator normalises over the last dimension only."""
    return _name(node) in _NORMS and len(_integers(node.args[1])) == 1


def _has_weight(node: fx.Node) -> bool:
    """Return whether an operator multiplies a matrix of weights, not two activations as attention does."""
    factors = _FACTORS.get(_name(node))
    if factors is None:
        return False
    weight = node.args[factors[1]]
    return isinstance(weight, fx.Node) and not any(isinstance(size, torch.SymInt) for size in weight.meta["val"].shape)


def _origins(node: fx.Node, source: fx.Node) -> Sequence[int | None] | None:
    """Return the dimension of an input that each dimension of an operator's output is, None if that is unknown."""
    name, rank = _name(node), _rank(source)
    if rank == 0:
        return None
    if name == "permute":
        return [dim % rank for dim in _integers(node.args[1])]
    if name == "transpose":
        dims = list(range(rank))
        first, second = _integers(node.args[1:])
        dims[first], dims[second] = dims[second], dims[first]
        return dims
    if name == "select":
        return [dim for dim in range(rank) if dim != _integers(node.args[1:2])[0] % rank]
    if name in _RESHAPES:
        return _reshaped(_value(source).shape, _value(node).shape)
    return list(range(rank)) if _keeps_dims(node) and rank == _rank(node) else None


def _keeps_dims(node: fx.Node) -> bool:
    is_pointwise = isinstance(node.target, torch._ops.OpOverload) and torch.Tag.pointwise in node.target.tags
    return is_pointwise or _name(node) in _SAME_DIMS


def _reshaped(before: Sequence[Any], after: Sequence[Any]) -> list[int | None]:
    """Return which dimension each dimension of a reshaped tensor was, or None if it was split or joined with others.

    It is the same if it has as many elements, and those before it have too. Sizes may be symbols of torch.export.

    Example:
        >>> _reshaped([5, 16, 16, 96], [5, 256, 96])
        [0, None, 3]
    """
    dim_of = {extent: dim for dim, extent in enumerate(_extents(before))}
    return [dim_of.get(extent) for extent in _extents(after)]


def _extents(shape: Sequence[Any]) -> list[tuple[str, str]]:
    """Return the number of elements in each dimension and in all those before it, as texts that can be compared."""
    return [(str(size), str(prod(shape[:dim]))) for dim, size in enumerate(shape)]


def _name(node: fx.Node) -> str:
    """Return the name of a node's operator without its overload, such as "conv2d"."""
    target = node.target
    return target.overloadpacket.__name__ if isinstance(target, torch._ops.OpOverload) else str(node.target)


def _value(node: fx.Node) -> Any:
    """Return the tensor that stands for a node's result, the first one if it has several."""
    value = node.meta.get("val")
    return value[0] if isinstance(value, tuple | list) and value else value


def _rank(node: fx.Node) -> int:
    value = _value(node)
    return value.ndim if isinstance(value, torch.Tensor) else 0


def _integers(argument: Any) -> list[int]:
    """Return an operator's argument of one or several integers as a list."""
    values = argument if isinstance(argument, tuple | list) else [argument]
    return [value for value in values if isinstance(value, int)]
