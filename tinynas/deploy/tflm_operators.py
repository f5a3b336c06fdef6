"""The operators of an int8 TFLite file one by one, in TFLM and in LiteRT's reference kernels.

Where an operator's output differs by a step of int8, the operators behind it may make more of it: in a deep network the
outputs then differ by several steps, though every operator computes what it should.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .quantization import Array
from .runtimes import LiteRT, TfliteMicro


def largest_operator_step(content: bytes, inputs: Sequence[Array]) -> int:
    """Return the largest difference of an operator's output, in steps of int8, when each runs alone.

    Each operator reads what LiteRT's reference kernels have computed up to there.

    Args:
        content: The file's bytes.
        inputs: What the file takes, such as an int8 image (1, H, W, C).
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = model.subgraphs[0]
    values: dict[int, Array] = dict(zip(graph.inputs.tolist(), inputs, strict=True))
    operators, largest = graph.operators, 0
    for operator in operators:
        read = [number for number in operator.inputs.tolist() if number in values]
        alone = _file_of(model, operator, read)
        arguments = [values[number] for number in read]
        (expected,), (output,) = LiteRT(alone, reference=True).run(arguments), TfliteMicro(alone).run(arguments)
        largest = max(largest, int(np.abs(output.astype(int) - expected.astype(int)).max()))
        values[int(operator.outputs[0])] = expected
    return largest


def _file_of(model: Any, operator: Any, read: Sequence[int]) -> bytes:
    """Return a file that has only this operator, which reads the tensors of these numbers."""
    from .tflite_writer import pack

    graph = model.subgraphs[0]
    graph.operators, model.metadata = [operator], []  # the plan of the whole network's memory is of no use
    graph.inputs, graph.outputs = np.asarray(read, np.int32), np.asarray(operator.outputs, np.int32)
    return pack(model)
