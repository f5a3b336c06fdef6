"""The cost of a part of a network, from its operators. The counting rules stand in `cost.py`."""

from collections.abc import Iterator
from dataclasses import replace

from .layer_cost import BIAS_BYTES, SCALE_BYTES, LayerCost
from .memory_plan import bytes_per_step, find_last_reads, tensor_buffers
from .operators import LoweredNetwork, Operator

_IN_PLACE = ("HARD_SWISH", "GELU")  # activations, which belong to the layer before them


def operator_costs(network: LoweredNetwork, *, keep_input: bool = False) -> Iterator[LayerCost]:
    """Yield the costs of a part of a network, operator by operator.

    Args:
        network: The part.
        keep_input: Whether what it reads is needed after the part, too.
    """
    if keep_input:
        network = replace(network, outputs=network.outputs + network.inputs)
    last_reads = find_last_reads(network)
    alive = bytes_per_step(tensor_buffers(network))
    for number, operator in enumerate(network.operators):
        if operator.kind in _IN_PLACE:
            continue
        saved = 0
        if operator.kind == "DEPTHWISE_CONV_2D" and last_reads[operator.inputs[0].name] == number:
            saved = min(operator.inputs[0].size, operator.output.size)
        yield _operator_cost(operator, alive[number], saved)


def _operator_cost(operator: Operator, alive: int, saved: int) -> LayerCost:
    """Return the cost of an operator while `alive` bytes are in memory, `saved` of them not if it runs in place."""
    if not operator.layer:
        return LayerCost(name=operator.name, macs=operator.macs, sram=alive, sram_inplace_dw=alive)
    source, channels, weights = operator.inputs[0], operator.output.channels, operator.num_weights
    rows, columns = operator.kernel
    scratch = 4 * rows * columns * source.channels
    if operator.kind == "DEPTHWISE_CONV_2D":
        _, height, width, _ = source.shape
        scratch = 2 * (height + 2 * (rows // 2)) * (width + 2 * (columns // 2))
    return LayerCost(
        name=operator.name,
        macs=operator.macs,
        params=weights + (2 * channels if operator.has_norm else channels),
        flash=weights + (BIAS_BYTES + SCALE_BYTES) * channels,
        sram=alive,
        sram_inplace_dw=alive - saved,
        scratch=scratch,
        kernel_buffer=2 * weights if operator.kind == "CONV_2D" and operator.kernel != (1, 1) else 0,
    )
