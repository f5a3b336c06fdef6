"""Where the activations of a lowered network lie in memory, and how much of it they need.

Tensors whose operator may overwrite its input share a buffer with that input. Every buffer has one offset for its whole
life; buffers that live at different times may overlap.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from .operators import LoweredNetwork, Operator, TensorSpec

_TRIES = 400  # orders that are tried when no simple one reaches the lower bound


@dataclass(frozen=True, kw_only=True)
class Buffer:
    """Memory that holds tensors, or an operator's scratch, for part of an inference.

    Attributes:
        size: Bytes.
        first: Number of the operator that needs it first.
        last: Number of the operator that needs it last.
        tensors: Names of the tensors that lie in it, one after the other; () for scratch.
    """

    size: int
    first: int
    last: int
    tensors: tuple[str, ...] = ()

    def overlaps(self, other: "Buffer") -> bool:
        """Return whether both are needed at the same time."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Offsets of buffers.

    Attributes:
        offsets: Bytes from the start of the memory, per buffer.
        peak: Bytes that all buffers need together.
    """

    offsets: tuple[int, ...]
    peak: int


def tensor_buffers(network: LoweredNetwork, *, element_bytes: int = 1, alignment: int = 1) -> list[Buffer]:
    """Return the buffers of a network's tensors, in the order in which they are first needed.

    Args:
        network: The network.
        element_bytes: Bytes of a value: 1 for int8, 4 for fp32.
        alignment: Bytes that every size is rounded up to a multiple of.

    Returns:
        Buffers whose sizes and lives cover those of their tensors.
    """
    last_reads = find_last_reads(network)
    buffers: dict[str, Buffer] = {}  # by the name of the tensor written last
    for tensor in network.inputs:
        size = aligned(tensor.size * element_bytes, alignment)
        buffers[tensor.name] = Buffer(size=size, first=0, last=last_reads[tensor.name], tensors=(tensor.name,))
    for number, operator in enumerate(network.operators):
        name, last = operator.output.name, last_reads[operator.output.name]
        overwritten = _overwritten(network, operator, number, last_reads)
        if overwritten is None:
            size = aligned(operator.output.size * element_bytes, alignment)
            buffers[name] = Buffer(size=size, first=number, last=last, tensors=(name,))
        else:
            buffer = buffers.pop(overwritten.name)
            tensors = (*buffer.tensors, name)
            buffers[name] = Buffer(size=buffer.size, first=buffer.first, last=last, tensors=tensors)
    return sorted(buffers.values(), key=_first_step)


def peak_bytes(network: LoweredNetwork) -> int:
    """Return the int8 bytes of the tensors that are in memory at the fullest step: the memory model `generic`."""
    return lower_bound(tensor_buffers(network))


def lower_bound(buffers: Sequence[Buffer]) -> int:
    """Return the bytes of the buffers that are needed at the fullest step, which no plan goes below."""
    return max(bytes_per_step(buffers))


def plan_memory(buffers: Sequence[Buffer]) -> MemoryPlan:
    """Return offsets that need little memory, in most networks as little as is possible at all.

    Buffers are placed one after the other, each at the lowest free offset. Several orders are tried, then random
    changes of the best one, until the lower bound is reached. The result depends on the buffers alone.
    """
    bound = lower_bound(buffers)
    best_order: list[int] = []
    best: MemoryPlan | None = None
    for key in _order_keys(buffers):
        order = sorted(range(len(buffers)), key=key)
        plan = place(buffers, order)
        if best is None or plan.peak < best.peak:
            best, best_order = plan, order
        if best.peak <= bound:
            return best
    assert best is not None
    return _improved(buffers, best, best_order, bound)


def place(buffers: Sequence[Buffer], order: Sequence[int], fixed: Sequence[int] = ()) -> MemoryPlan:
    """Return the plan that places buffers in an order, each at the lowest offset that is free for its whole life.

    Args:
        buffers: The buffers.
        order: Numbers of the buffers that are placed.
        fixed: Offsets that the first buffers already have; they are not in `order`.
    """
    offsets = dict(enumerate(fixed))
    placed = sorted(offsets, key=offsets.__getitem__)  # numbers of buffers, by offset
    for number in order:
        buffer, offset = buffers[number], 0
        for other in placed:
            if not buffer.overlaps(buffers[other]):
                continue
            if offsets[other] - offset >= buffer.size:
                break
            offset = max(offset, offsets[other] + buffers[other].size)
        offsets[number] = offset
        position = 0
        while position < len(placed) and offsets[placed[position]] <= offset:
            position += 1
        placed.insert(position, number)
    peak = 0
    for number, offset in offsets.items():
        peak = max(peak, offset + buffers[number].size)
    return MemoryPlan(offsets=tuple(offsets[number] for number in range(len(buffers))), peak=peak)


def aligned(size: int, alignment: int) -> int:
    """Return the size rounded up to a multiple of the alignment."""
    return -(-size // alignment) * alignment


def find_last_reads(network: LoweredNetwork) -> dict[str, int]:
    """Return the number of the last operator that needs each tensor; outputs are needed to the end."""
    last_reads = {tensor.name: 0 for tensor in network.inputs}
    for number, operator in enumerate(network.operators):
        last_reads[operator.output.name] = number
        for tensor in operator.inputs:
            last_reads[tensor.name] = number
    for tensor in network.outputs:
        last_reads[tensor.name] = len(network.operators) - 1
    return last_reads


def _overwritten(
    network: LoweredNetwork, operator: Operator, number: int, last_reads: dict[str, int]
) -> TensorSpec | None:
    """Return the input that the operator's output overwrites, or None. Inputs of the network are never overwritten."""
    for position in operator.overwritable:
        tensor = operator.inputs[position]
        if tensor.size == operator.output.size and last_reads[tensor.name] == number and tensor not in network.inputs:
            return tensor
    return None


def _first_step(buffer: Buffer) -> int:
    return buffer.first


def bytes_per_step(buffers: Sequence[Buffer]) -> list[int]:
    """Return the bytes of the buffers that each operator needs."""
    steps = max(buffer.last for buffer in buffers) + 1
    totals = [0] * steps
    for buffer in buffers:
        for step in range(buffer.first, buffer.last + 1):
            totals[step] += buffer.size
    return totals


def _order_keys(buffers: Sequence[Buffer]) -> list[Callable[[int], tuple[int, ...]]]:
    """Return keys that sort the numbers of buffers into orders worth trying."""
    totals = bytes_per_step(buffers)
    fullest = totals.index(max(totals))

    def by_size(number: int) -> tuple[int, ...]:
        return (-buffers[number].size,)

    def by_distance_from_fullest(number: int) -> tuple[int, ...]:
        buffer = buffers[number]
        return max(buffer.first - fullest, fullest - buffer.last, 0), -buffer.size

    def by_life(number: int) -> tuple[int, ...]:
        buffer = buffers[number]
        return buffer.first - buffer.last, -buffer.size

    def by_area(number: int) -> tuple[int, ...]:
        buffer = buffers[number]
        return (-buffer.size * (buffer.last - buffer.first + 1),)

    return [by_size, by_distance_from_fullest, by_life, by_area]


def _improved(buffers: Sequence[Buffer], best: MemoryPlan, best_order: list[int], bound: int) -> MemoryPlan:
    """Return the best plan that random moves in the order lead to, of any buffer and, in turn, of one at the peak."""
    random = Random(0)
    for trial in range(_TRIES):
        order = list(best_order)
        position = order.index(_highest(buffers, best)) if trial % 2 else random.randrange(len(order))
        number = order.pop(position)
        order.insert(random.randrange(len(order) + 1), number)
        plan = place(buffers, order)
        if plan.peak <= best.peak:
            best, best_order = plan, order
        if best.peak <= bound:
            break
    return best


def _highest(buffers: Sequence[Buffer], plan: MemoryPlan) -> int:
    """Return the number of a buffer that ends at the plan's peak."""
    for number, offset in enumerate(plan.offsets):
        if offset + buffers[number].size == plan.peak:
            return number
    raise AssertionError("a plan's peak is the end of a buffer")
