"""The memory model against the exported ONNX graph, and the bytes that are alive at its nodes.

TINYNAS_ARCHS=200 looks at 200 random archs of each space, and not at one.
"""

import os
from dataclasses import replace

import numpy as np
import pytest
from kinds import tflite_spaces
from onnx_memory import Op, alive, buffers, peak

from helpers import sampled, slow_except
from tinynas import cost, load_arch, load_space
from tinynas.arch.cost import layer_costs as layers
from tinynas.arch.zoo import shipped_networks

ARCHS = int(os.environ.get("TINYNAS_ARCHS", "1"))


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
@pytest.mark.parametrize("name", tflite_spaces())  # attention has other steps in ONNX
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
