"""The arena of TensorFlow Lite Micro (TFLM) for an int8 file of a lowered network, counted without TFLM.

The arena has two parts. The head holds activations and the scratch of operators, by the offsets in the file. The tail
holds what lives as long as the interpreter: structs for tensors and operators, and the multipliers and shifts of every
output channel. Before the head is in use, its place serves to prepare operators and to plan the head, which takes more
than the activations of the smallest networks. Sizes of structs are those of TFLM's sources of 2026.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..utils.errors import unknown
from .arena_structs import CMSIS_DATA, OPTIONS, PLANNER_BYTES, SPARE_REQUESTS, STRUCTS, TEMPORARY, Structs
from .memory_plan import Buffer, aligned, place, plan_memory, tensor_buffers
from .operators import CONVOLUTIONS, LoweredNetwork, Operator

ALIGNMENT = 16  # bytes, of tensors, scratch and what operators keep
KERNELS = ("reference", "cmsis-nn-dsp", "cmsis-nn-mve")


@dataclass(frozen=True, kw_only=True)
class Arena:
    """Memory that TFLM takes, in bytes.

    Attributes:
        head: Activations and scratch.
        tail: What lives as long as the interpreter.
        planning: What is needed while operators are prepared and the head is planned, with the tail as it is then.
    """

    head: int
    tail: int
    planning: int

    @property
    def total(self) -> int:
        """Bytes that must be reserved for the arena: a multiple of 16."""
        return aligned(max(self.head + self.tail, self.planning), ALIGNMENT)


def arena(
    network: LoweredNetwork, *, kernels: str = "reference", planned_for: str | None = None, bits: int = 32
) -> Arena:
    """Return the memory that TFLM takes for a network's int8 file with the offsets of `offline_plan`.

    Args:
        network: The network.
        kernels: One of KERNELS.
        planned_for: The kernels that the offsets in the file are planned for; by default those that run it.
        bits: Size of pointers: 32 on microcontrollers; 64 for the Python package tflite-micro.
    """
    tensors, scratch = _tensor_buffers(network), _scratch_buffers(network, kernels)
    offsets = _offsets(tensors, _scratch_buffers(network, planned_for or kernels))
    head = place(tensors + scratch, _scratch_order(tensors, scratch), fixed=offsets).peak
    structs, num_scratch = STRUCTS[bits], len(scratch)
    before_preparing = _tail_bytes(_requests_of_operators(network, kernels, structs))
    preparing, tail = _prepare(network, kernels, structs, before_preparing)
    before_planning = _tail_bytes([(structs.scratch_handle * num_scratch, structs.alignment)], start=tail)
    return Arena(
        head=head,
        tail=_tail_bytes(_requests_of_ends(network, structs), start=before_planning),
        planning=max(preparing, _planning_bytes(network, num_scratch, structs, before_planning)),
    )


def offline_plan(network: LoweredNetwork, *, kernels: str = "reference") -> dict[str, int]:
    """Return the offset in the head of every activation tensor of an int8 file, by name.

    Args:
        network: The network.
        kernels: One of KERNELS, for whose scratch the plan leaves room.
    """
    tensors = _tensor_buffers(network)
    offsets: dict[str, int] = {}
    for buffer, offset in zip(tensors, _offsets(tensors, _scratch_buffers(network, kernels)), strict=True):
        offsets |= dict.fromkeys(buffer.tensors, offset)
    return offsets


def _tensor_buffers(network: LoweredNetwork) -> list[Buffer]:
    return tensor_buffers(network, alignment=ALIGNMENT)


def _offsets(tensors: list[Buffer], scratch: list[Buffer]) -> tuple[int, ...]:
    """Return the offsets of the tensors' buffers in a plan that includes the scratch."""
    return plan_memory(tensors + scratch).offsets[: len(tensors)]


def _scratch_order(tensors: list[Buffer], scratch: list[Buffer]) -> list[int]:
    """Return the numbers of the scratch buffers, which follow those of the tensors, in TFLM's order of placing them.

    TFLM plans scratch itself, around the tensors whose offsets are in the file: by size, and the last requested first.
    """

    def by_size(number: int) -> int:
        return -scratch[number - len(tensors)].size

    last_first = range(len(tensors) + len(scratch) - 1, len(tensors) - 1, -1)
    return sorted(last_first, key=by_size)


def _scratch_buffers(network: LoweredNetwork, kernels: str) -> list[Buffer]:
    """Return what operators use while they run, in the order in which they request it."""
    buffers = []
    for number, operator in enumerate(network.operators):
        for num_bytes in _scratch_bytes(operator, kernels):
            size = aligned(num_bytes, ALIGNMENT)
            buffers.append(Buffer(size=size, first=number, last=number))
    return buffers


def _scratch_bytes(operator: Operator, kernels: str) -> tuple[int, ...]:
    """Return the sizes of an operator's scratch buffers.

    Raises:
        InputError: The kernels are unknown.
    """
    if operator.kind == "MEAN":  # sums, and a position per dimension and per axis
        return 4 * operator.output.channels, 4 * len(operator.inputs[0].shape), 4 * len(operator.constant)
    if kernels not in KERNELS:
        raise unknown("kind of kernels", kernels, KERNELS)
    size = 0 if kernels == "reference" else _cmsis_scratch_bytes(operator, vector=kernels == "cmsis-nn-mve")
    return (size,) if size else ()


def _cmsis_scratch_bytes(operator: Operator, *, vector: bool) -> int:
    """Return the scratch of a CMSIS-NN kernel, for cores with vector instructions (MVE) or with DSP instructions."""
    rows, columns = operator.stored_kernel
    if operator.kind == "FULLY_CONNECTED":
        return 4 * operator.output.channels if vector else 0
    if operator.kind == "CONV_2D" and (rows, columns) != (1, 1):
        values = rows * columns * operator.inputs[0].channels
        return 4 * aligned(values, 16) if vector else 4 * aligned(values, 4)
    if operator.kind == "DEPTHWISE_CONV_2D" and vector:
        return 4 * 124 * rows * columns
    if operator.kind == "DEPTHWISE_CONV_2D" and (rows, columns) != (3, 3):  # 3x3 kernels with padding 1 need none
        return 2 * operator.output.channels * rows * columns
    return 0


def _tail_bytes(requests: Iterable[tuple[int, int]], start: int = 0) -> int:
    """Return the tail's size after requests of bytes with an alignment; it grows from the arena's end."""
    tail = start
    for size, alignment in requests:
        tail = aligned(tail + size, alignment)
    return tail


def _requests_of_operators(network: LoweredNetwork, kernels: str, structs: Structs) -> Iterator[tuple[int, int]]:
    """Yield the bytes and the alignment of what TFLM requests before it prepares operators, in its order."""
    operators = network.operators
    for size in structs.fixed:
        yield size, structs.alignment
    yield structs.eval_tensor * _num_tensors(network), structs.alignment
    yield structs.node * len(operators), structs.alignment
    for operator in operators:
        yield OPTIONS.get(operator.kind, (0, 1))
        if operator.kind == "FULLY_CONNECTED":
            yield structs.linear_extra, 4
    for operator in operators:
        size = structs.operator_data[operator.kind]
        if kernels != "reference":
            size += CMSIS_DATA.get(operator.kind, 0)
        if size:
            yield size, ALIGNMENT


def _prepare(network: LoweredNetwork, kernels: str, structs: Structs, tail: int) -> tuple[int, int]:
    """Return the bytes that are needed while operators are prepared, one by one, and the tail's size afterwards.

    What an operator reads from the file meanwhile lies behind the requests for scratch at the arena's start.
    """
    most = num_requests = 0
    for operator in network.operators:
        if operator.kind in CONVOLUTIONS:
            size = 4 * operator.output.channels
            tail = _tail_bytes([(size, ALIGNMENT), (size, ALIGNMENT)], start=tail)  # multipliers and shifts
        end = structs.scratch_request * (num_requests + SPARE_REQUESTS)
        for size, alignment in _temporary_requests(operator, structs):
            end = aligned(end, alignment) + size
        most = max(most, end + tail)
        num_requests += len(_scratch_bytes(operator, kernels))
    return most, tail


def _temporary_requests(operator: Operator, structs: Structs) -> Iterator[tuple[int, int]]:
    """Yield the bytes and the alignment of the descriptions of tensors that an operator reads while it is prepared.

    A weight and a bias of a convolution have a zero point for every channel.
    """
    channels = operator.output.channels if operator.kind in CONVOLUTIONS else 1
    for tensor in TEMPORARY[operator.kind]:
        yield structs.tensor, structs.alignment
        if tensor != "constant":
            num_zero_points = channels if tensor in ("weight", "bias") else 1
            yield structs.quantization, structs.alignment
            yield 4 * (1 + num_zero_points), 4


def _requests_of_ends(network: LoweredNetwork, structs: Structs) -> Iterator[tuple[int, int]]:
    """Yield the bytes and the alignment of what TFLM requests for the network's inputs, then for its outputs."""
    for count in (len(network.inputs), len(network.outputs)):
        yield structs.pointer * count, ALIGNMENT
        for _ in range(count):
            yield structs.tensor, structs.alignment
            yield structs.quantization, structs.alignment
            yield 8, 4  # the scale and its count


def _planning_bytes(network: LoweredNetwork, num_scratch: int, structs: Structs, tail: int) -> int:
    """Return the bytes that are needed while the head is planned, when the tail has this size."""
    requests = structs.scratch_request * (num_scratch + SPARE_REQUESTS)
    allocations = structs.allocation * (_num_tensors(network) + num_scratch)
    planned = len(network.inputs) + len(network.operators) + num_scratch  # buffers
    information = aligned(requests + structs.pointer + allocations, ALIGNMENT)
    return aligned(tail, ALIGNMENT) + information + PLANNER_BYTES * planned


def _num_tensors(network: LoweredNetwork) -> int:
    """Return the number of tensors of the file: activations, weights and biases, and distinct constants."""
    layers = [operator for operator in network.operators if operator.layer]
    constants = {operator.constant for operator in network.operators} - {()}
    return len(network.inputs) + len(network.operators) + 2 * len(layers) + len(constants)
