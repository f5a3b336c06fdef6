"""Sizes of the structs of TensorFlow Lite Micro (TFLM), in bytes, by its sources of 2026, and what operators keep."""

from typing import NamedTuple


class Structs(NamedTuple):
    """Sizes of TFLM's structs in bytes, of the pointers' size `bits`."""

    fixed: tuple[int, ...]  # allocators, memory planner, builder of operator options, subgraph
    tensor: int
    eval_tensor: int
    node: int
    quantization: int
    pointer: int
    scratch_handle: int
    scratch_request: int
    allocation: int  # what is known about a tensor or scratch buffer while the head is planned
    alignment: int
    linear_extra: int  # taken per linear layer besides; measured with the Python interpreter of October 2026
    operator_data: dict[str, int]  # what an operator keeps, by kind


_COMMON_DATA = {"ADD": 60, "MUL": 36, "MEAN": 44, "HARD_SWISH": 20, "RESIZE_NEAREST_NEIGHBOR": 0}
STRUCTS = {
    32: Structs(
        fixed=(36, 44, 36, 8, 8),
        tensor=40,
        eval_tensor=12,
        node=32,
        quantization=12,
        pointer=4,
        scratch_handle=4,
        scratch_request=12,
        allocation=24,
        alignment=4,
        linear_extra=0,
        operator_data={"CONV_2D": 56, "DEPTHWISE_CONV_2D": 56, "FULLY_CONNECTED": 48, **_COMMON_DATA},
    ),
    64: Structs(
        fixed=(104, 72, 272, 16, 24),  # of the allocator that records allocations, as the Python interpreter has it
        tensor=64,
        eval_tensor=24,
        node=64,
        quantization=24,
        pointer=8,
        scratch_handle=8,
        scratch_request=16,
        allocation=32,
        alignment=8,
        linear_extra=16,
        operator_data={"CONV_2D": 80, "DEPTHWISE_CONV_2D": 80, "FULLY_CONNECTED": 72, **_COMMON_DATA},
    ),
}
TEMPORARY = {  # tensors that an operator reads the description of while it is prepared, in this order
    "CONV_2D": ("output", "input", "weight", "input", "weight", "bias", "output"),
    "DEPTHWISE_CONV_2D": ("output", "input", "weight", "input", "weight", "bias", "output"),
    "FULLY_CONNECTED": ("input", "weight", "bias", "output"),
    "ADD": ("input", "input", "output"),
    "MUL": ("input", "input", "output"),
    "MEAN": ("input", "output", "constant", "input", "constant", "output"),
    "HARD_SWISH": ("input", "output"),
    "RESIZE_NEAREST_NEIGHBOR": ("input", "constant", "output"),
}
OPTIONS = {  # bytes and alignment of an operator's options
    "CONV_2D": (28, 4),
    "DEPTHWISE_CONV_2D": (28, 4),
    "FULLY_CONNECTED": (16, 4),
    "ADD": (8, 4),
    "MUL": (4, 4),
    "MEAN": (1, 1),
    "RESIZE_NEAREST_NEIGHBOR": (2, 1),
}

SPARE_REQUESTS = 12  # scratch requests that there is room for besides the present ones
PLANNER_BYTES = 40  # of the planner per buffer: four numbers of a buffer, and its places in sorted lists
CMSIS_DATA = {
    "FULLY_CONNECTED": 24,
    "CONV_2D": 4,
    "DEPTHWISE_CONV_2D": 4,
}  # bytes that CMSIS-NN's operators keep besides
