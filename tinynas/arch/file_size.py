"""The size of a network's int8 TFLite file, counted without writing it.

A file is a flatbuffer. Most of it are buffers of constants and vectors of numbers, which are counted exactly but for
their alignment: weights and biases at multiples of 16 bytes, scales in 4 bytes, zero points in 8. Vectors of equal
content, such as the zero points of weights, are in the file once. What tables take besides is measured with our writer.
"""

from .memory_plan import aligned
from .operators import CONVOLUTIONS, LoweredNetwork, Operator

_LENGTH = 4  # bytes before a vector's values
_BUFFER = 12  # bytes of a buffer's length and table
_FILE = 548  # bytes of header, model and subgraph, with the tensor of axes and its buffer
_CODE = 41  # bytes for each kind of operator
_LAYER, _WEIGHTLESS = 233, 104  # bytes of tables for each operator and its tensors, with and without weights
_ALIGNMENT = 16


def tflite_bytes(network: LoweredNetwork) -> int:
    """Return the bytes of a network's int8 file, with weights per channel and the offline memory plan.

    Args:
        network: The network.

    Returns:
        Bytes, within 1% of the file that `tinynas.deploy.tflite_writer` writes, or within 192 B of a file under 19 KB.
    """
    total = _FILE
    kinds, scales, shapes = set(), set(), set()
    for tensor in network.tensors():
        total += aligned(len(tensor.name) + 1 + _LENGTH, 4)
        shapes.add(tensor.shape)
    for operator in network.operators:
        kinds.add(operator.kind)
        total += _layer_bytes(operator) if operator.layer else _WEIGHTLESS
        if operator.layer:
            scales.add(_num_scales(operator))
            shapes.update([(operator.output.channels,), _weight_shape(operator)])
    for count in scales:
        total += 2 * _LENGTH + 8 * count  # zero points
    for shape in shapes:
        total += _LENGTH + 4 * len(shape)
    return total + _CODE * len(kinds)


def _layer_bytes(operator: Operator) -> int:
    """Return the bytes of an operator with weights, its tables and its constants, without zero points."""
    weights = aligned(operator.num_stored_weights + _BUFFER, _ALIGNMENT)
    biases = aligned(4 * operator.output.channels + _BUFFER, _ALIGNMENT)
    scales = 2 * (_LENGTH + 4 * _num_scales(operator))  # of weights and of biases
    return _LAYER + weights + biases + scales


def _num_scales(operator: Operator) -> int:
    return operator.output.channels if operator.kind in CONVOLUTIONS else 1


def _weight_shape(operator: Operator) -> tuple[int, ...]:
    """Return the shape of a layer's weight in the file."""
    rows, columns = operator.stored_kernel
    inputs, outputs = operator.inputs[0].channels, operator.output.channels
    if operator.kind == "CONV_2D":
        return outputs, rows, columns, inputs
    return (1, rows, columns, outputs) if operator.kind == "DEPTHWISE_CONV_2D" else (outputs, inputs)
