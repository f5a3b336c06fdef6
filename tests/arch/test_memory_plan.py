import pytest

from tinynas.arch.lowering import lower
from tinynas.arch.memory_plan import Buffer, lower_bound, peak_bytes, place, plan_memory, tensor_buffers


def check_plan(buffers, plan):
    """No two buffers overlap in time and in memory, and the peak is the highest end."""
    spans = list(zip(plan.offsets, buffers, strict=True))
    for number, (offset, buffer) in enumerate(spans):
        assert offset >= 0
        for other_offset, other in spans[:number]:
            apart = offset + buffer.size <= other_offset or other_offset + other.size <= offset
            assert apart or buffer.last < other.first or other.last < buffer.first
    assert plan.peak == max(offset + buffer.size for offset, buffer in spans)


def test_plans_do_not_overlap_and_reach_the_lower_bound(shipped_space, rng):
    for _ in range(15):
        buffers = tensor_buffers(lower(shipped_space.sample(rng)), alignment=16)
        plan = plan_memory(buffers)
        check_plan(buffers, plan)
        assert plan.peak == lower_bound(buffers)


def test_plan_searches_where_simple_orders_leave_gaps():
    lives = [(1, 3, 4), (2, 1, 3), (4, 1, 3), (5, 4, 4), (4, 2, 4)]
    buffers = [Buffer(size=size, first=first, last=last) for size, first, last in lives]
    by_size = sorted(range(len(buffers)), key=lambda number: -buffers[number].size)
    assert place(buffers, by_size).peak == 12
    plan = plan_memory(buffers)
    check_plan(buffers, plan)
    assert plan.peak == lower_bound(buffers) == 11


def test_place_keeps_fixed_offsets():
    buffers = [Buffer(size=16, first=0, last=1), Buffer(size=16, first=1, last=2), Buffer(size=8, first=1, last=1)]
    plan = place(buffers, [2], fixed=(0, 32))
    assert plan.offsets == (0, 32, 16)
    assert plan.peak == 48


def test_buffers_cover_every_tensor_for_its_life(any_space, rng):
    network = lower(any_space.sample(rng))
    of_tensor = {}
    for buffer in tensor_buffers(network):
        for name in buffer.tensors:
            assert name not in of_tensor
            of_tensor[name] = buffer
    for number, operator in enumerate(network.operators):
        for tensor in (*operator.inputs, operator.output):
            buffer = of_tensor[tensor.name]
            assert buffer.first <= number <= buffer.last
            assert buffer.size >= tensor.size
        shared = [tensor for tensor in operator.inputs if of_tensor[tensor.name] is of_tensor[operator.output.name]]
        assert all(operator.inputs.index(tensor) in operator.overwritable for tensor in shared)
    for output in network.outputs:
        assert of_tensor[output.name].last == len(network.operators) - 1


@pytest.mark.parametrize(("element_bytes", "alignment"), [(1, 16), (4, 1), (4, 16)])
def test_buffers_have_the_size_of_values_and_alignment(space, element_bytes, alignment):
    network = lower(space.max())
    plain = tensor_buffers(network)
    for buffer, small in zip(
        tensor_buffers(network, element_bytes=element_bytes, alignment=alignment), plain, strict=True
    ):
        assert buffer.tensors == small.tensors
        assert buffer.size % alignment == 0
        assert 0 <= buffer.size - element_bytes * small.size < alignment
    assert peak_bytes(network) == lower_bound(plain)
