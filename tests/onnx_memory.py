"""What is alive in the exported ONNX graph of a network, counted by code that the product does not use."""

import warnings
from math import prod
from typing import NamedTuple

import torch

from tinynas import build
from tinynas.models.network import fold

FUSED = {"Clip", "Relu", "HardSwish", "HardSigmoid"}  # activations run within the layer before them
ALIASES = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Transpose"}
JOINS = {"Concat"}  # its operands are outputs of the network, which lie where they are to the end
IN_PLACE = {"Add", "Mul", "Softmax"}  # write over an operand that is not needed any more


class Op(NamedTuple):
    """What one step of the graph reads and writes: numbers of buffers."""

    reads: frozenset
    writes: int


def exported(arch):
    """The graph of the folded network: (kind, names read, name written) of its nodes in their order, and shapes."""
    net = fold(build(arch))
    images = torch.zeros(1, *arch.input_shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = torch.onnx.export(net, (images,), dynamo=True, verbose=False).model.graph
    nodes, shapes = [], {value.name: tuple(value.shape) for value in graph.inputs}
    for node in graph:
        shapes |= {value.name: tuple(value.shape) for value in node.outputs}
        nodes.append((node.op_type, [v.name for v in node.inputs if v is not None], node.outputs[0].name))
    return nodes, shapes, graph.inputs[0].name


def buffers(arch):
    """The graph's steps on buffers, after fusing; the bytes of every buffer, int8; the image is buffer 0."""
    nodes, shapes, image = exported(arch)
    uses = [name for _, reads, _ in nodes for name in reads]
    crops = {written for kind, _, written in nodes if kind == "Slice"}
    at, sizes, steps, kept = {image: 0}, [prod(shapes[image])], [], set()
    for i, (kind, reads, written) in enumerate(nodes):
        reads = [name for name in reads if name in at]  # the others are weights
        later = {name for _, names, _ in nodes[i + 1 :] for name in names}
        free = [name for name in reads if not any(at.get(other) == at[name] for other in later)]
        if kind in JOINS:
            kept |= {at[name] for name in reads}
        if kind in ALIASES | JOINS or (kind in FUSED and uses.count(reads[0]) == 1):
            at[written] = at[reads[0]]
            continue
        if kind == "Slice" and reads[0] in crops:  # rows, then columns: one crop
            at[written] = at[reads[0]]
            sizes[at[written]] = prod(shapes[written])
            continue
        same = [name for name in free if shapes[name] == shapes[written]]
        if kind in IN_PLACE and same:
            at[written] = at[same[-1]]
        else:
            at[written] = len(sizes)
            sizes.append(prod(shapes[written]))
        steps.append(Op(frozenset(at[name] for name in reads), at[written]))
    written = set()
    for i, step in enumerate(steps):
        steps[i] = step._replace(reads=step.reads | (kept & written))
        written.add(step.writes)
    return steps, sizes


def alive(steps, sizes):
    """Bytes alive at each step, run in this order: written at it or before, and read at it or later."""
    for i, step in enumerate(steps):
        written = {0} | {earlier.writes for earlier in steps[:i]}
        needed = set().union(*(later.reads for later in steps[i:]))
        yield sum(sizes[buffer] for buffer in (written & needed) | {step.writes})


def peak(steps, sizes):
    return max(alive(steps, sizes))
