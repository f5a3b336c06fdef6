"""The memory model against the exported ONNX graph, and the bytes that are alive at its nodes.

TINYNAS_ARCHS=200 looks at 200 random archs of each space, and not at one.
"""

import os
import warnings
from dataclasses import replace
from math import prod
from typing import NamedTuple

import numpy as np
import pytest
import torch

from helpers import sampled, slow_except
from tinynas import build, cost, load_arch, load_space
from tinynas.arch.cost import layer_costs as layers
from tinynas.arch.zoo import shipped_networks, shipped_spaces
from tinynas.models.network import fold

ARCHS = int(os.environ.get("TINYNAS_ARCHS", "1"))
FUSED = {"Clip", "Relu", "HardSwish", "HardSigmoid"}  # activations run within the layer before them
ALIASES = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Transpose"}
JOINS = {"Concat"}  # its operands lie where they are, and are the output together
IN_PLACE = {"Add", "Mul"}  # write over an operand that is not needed any more


class Op(NamedTuple):
    """What one step of the graph reads and writes: numbers of buffers."""

    reads: frozenset
    writes: int


def exported(arch):
    """The graph of the folded network: (kind, names read, name written) of its nodes in their order, and shapes."""
    net = fold(build(arch))
    images = torch.zeros(1, arch.in_channels, arch.resolution, arch.resolution)
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
    at, sizes, steps = {image: 0}, [prod(shapes[image])], []
    for i, (kind, reads, written) in enumerate(nodes):
        reads = [name for name in reads if name in at]  # the others are weights
        later = {name for _, names, _ in nodes[i + 1 :] for name in names}
        free = [name for name in reads if not any(at.get(other) == at[name] for other in later)]
        if kind in ALIASES or (kind in FUSED and uses.count(reads[0]) == 1):
            at[written] = at[reads[0]]
            continue
        if kind == "Slice" and reads[0] in crops:  # rows, then columns: one crop
            at[written] = at[reads[0]]
            sizes[at[written]] = prod(shapes[written])
            continue
        same = [name for name in free if shapes[name] == shapes[written]]
        if kind in JOINS or (kind in IN_PLACE and same):
            at[written] = at[(same or reads)[-1]]
        else:
            at[written] = len(sizes)
            sizes.append(prod(shapes[written]))
        steps.append(Op(frozenset(at[name] for name in reads), at[written]))
    return steps, sizes


def alive(steps, sizes):
    """Bytes alive at each step, run in this order: written at it or before, and read at it or later."""
    for i, step in enumerate(steps):
        written = {0} | {earlier.writes for earlier in steps[:i]}
        needed = set().union(*(later.reads for later in steps[i:]))
        yield sum(sizes[buffer] for buffer in (written & needed) | {step.writes})


def peak(steps, sizes):
    return max(alive(steps, sizes))


def check(arch):
    """Layer by layer, and so also at the peak; of the arch with the ONNX graph that does not turn the image."""
    arch = replace(arch, padding="symmetric")
    assert list(alive(*buffers(arch))) == [step.sram for step in layers(arch)], arch
    assert cost(arch).peak_sram == max(step.sram for step in layers(arch))


def orders(steps):
    """All orders in which a step runs after those that write what it reads, and that touch what it writes over."""
    before = [
        {j for j in range(i) if {steps[j].writes} & step.reads or {step.writes} & {*steps[j].reads, steps[j].writes}}
        for i, step in enumerate(steps)
    ]

    def extend(done):
        if len(done) == len(steps):
            yield [steps[i] for i in done]
        for i in set(range(len(steps))) - set(done):
            if before[i] <= set(done):
                yield from extend([*done, i])

    return extend([])


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_spaces())
def test_cost_memory_of_shipped_spaces_is_what_is_alive_in_the_exported_graph(name):
    space, rng = load_space(name), np.random.default_rng(0)
    archs = [space.min(), space.max(), *(space.sample(rng) for _ in range(ARCHS))]
    for arch in archs:
        check(arch)


@pytest.mark.parametrize("name", slow_except(shipped_networks(), "mobilenet-v2-tiny"))
def test_cost_memory_of_published_networks_is_what_is_alive_in_the_exported_graph(name):
    check(load_arch(name))


@pytest.mark.parametrize("number", slow_except(range(max(4, ARCHS)), 0, 1))
def test_cost_memory_of_every_kind_of_choice_is_what_is_alive_in_the_exported_graph(any_space, number):
    check(sampled(any_space, number))


def test_peak_lies_between_the_best_and_the_worst_order(space):
    """By brute force, on small graphs."""
    steps, sizes = buffers(space.min())
    peaks = [peak(order, sizes) for order in orders(steps)]
    assert peaks
    assert min(peaks) <= peak(steps, sizes) <= max(peaks)
    assert peak(steps, sizes) >= max(sizes[step.writes] for step in steps)


def test_orders_find_a_better_order():
    """Two branches of one input: the wide one should be done with before the narrow one runs."""
    sizes = [4, 10, 3, 1, 2]
    steps = [
        Op(frozenset({0}), 1),  # wide
        Op(frozenset({0}), 2),  # narrow
        Op(frozenset({1}), 3),
        Op(frozenset({2, 3}), 4),
    ]
    assert peak(steps, sizes) == 17
    assert {peak(order, sizes) for order in orders(steps)} == {15, 17}
