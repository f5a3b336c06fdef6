"""Outputs of TFLM beside those of LiteRT's reference kernels: of a network, and of each of its operators alone."""

from collections.abc import Sequence

import numpy as np

from tinynas.deploy.quantization import Array
from tinynas.deploy.runtimes import TfliteMicro

from .random_files import RandomNetwork


def largest_step(outputs: Sequence[Array], expected: Sequence[Array]) -> int:
    """Return the largest difference of int8 outputs."""
    steps = []
    for values, others in zip(outputs, expected, strict=True):
        steps.append(int(np.abs(values.astype(int) - others.astype(int)).max()))
    return max(steps)


def operator_steps(network: RandomNetwork, content: bytes, image: Array) -> dict:
    """Run every operator alone in TFLM, on what the reference kernels have computed of an image up to there.

    Returns:
        The number of operators, that of those with an output that differs from the reference kernels', the largest
        step, and the number of outputs and of those that differ.
    """
    values = _intermediate_values(content, image)
    differing, largest, count, differing_count = 0, 0, 0, 0
    for operator in network.network.operators:
        micro = TfliteMicro(network.operator_file(operator))
        (output,) = micro.run([values[tensor.name] for tensor in operator.inputs])
        expected = values[operator.output.name]
        step = largest_step([output], [expected])
        largest = max(largest, step)
        differing += step > 0
        count += expected.size
        differing_count += int((output != expected).sum())
    return {
        "operators": len(network.network.operators),
        "differing": differing,
        "largest_step": largest,
        "values": count,
        "differing_values": differing_count,
    }


def _intermediate_values(content: bytes, image: Array) -> dict[str, Array]:
    """Return all int8 tensors of a file by name, as the reference kernels compute them."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=content,
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    values = {}
    for details in interpreter.get_tensor_details():
        if details["dtype"] == np.int8:
            values[details["name"]] = interpreter.get_tensor(details["index"]).copy()
    return values
