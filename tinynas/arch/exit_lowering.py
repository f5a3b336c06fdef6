"""Early exits in a lowered network: side heads on the outputs of modules, and the parts that run one after another."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..utils.errors import InputError
from .operators import LoweredNetwork, Operator, TensorSpec


def with_side_heads(network: LoweredNetwork, taps: Sequence[str], hidden: int) -> LoweredNetwork:
    """Return a classifier with side heads: average pooling, a hidden layer with relu, and logits.

    Args:
        network: The lowered classifier.
        taps: Modules whose outputs the side heads read, in the order of execution, such as "stages.1".
        hidden: Features of each hidden layer.

    Returns:
        The network whose outputs are the logits of every exit. The layers of side head i are called "side.i.hidden" and
        "side.i.classifier".

    Raises:
        InputError: No operator writes the output of a tapped module.
    """
    classes = network.outputs[0].channels
    heads: dict[str, list[Operator]] = {}  # by the name of the operator that they follow
    outputs = []
    for number, tap in enumerate(taps):
        tapped = _output_of(network, tap)
        heads.setdefault(tapped.name, []).extend(_side_head(f"side.{number}", tapped, hidden, classes))
        outputs.append(heads[tapped.name][-1].output)
    operators: list[Operator] = []
    for operator in network.operators:
        operators.append(operator)
        operators.extend(heads.get(operator.name, ()))
    outputs.extend(network.outputs)
    return LoweredNetwork(inputs=network.inputs, operators=tuple(operators), outputs=tuple(outputs))


def split_after_outputs(network: LoweredNetwork) -> list[LoweredNetwork]:
    """Split a network after the operator of each output.

    Returns:
        Parts in the order of execution. A part returns its output, then the tensors that later parts need, which the
        next part takes in the same order.
    """
    numbers = {operator.name: number for number, operator in enumerate(network.operators)}
    parts, start, inputs = [], 0, network.inputs
    for output in network.outputs:
        end = numbers[output.name] + 1
        operators = network.operators[start:end]
        part = LoweredNetwork(inputs=inputs, operators=operators, outputs=(output,))
        carried = _needed_later(part.tensors(), network.operators[end:])
        parts.append(replace(part, outputs=part.outputs + carried))
        start, inputs = end, carried
    return parts


def _needed_later(tensors: Iterable[TensorSpec], operators: Sequence[Operator]) -> tuple[TensorSpec, ...]:
    """Return the tensors that are inputs of the operators."""
    needed: set[TensorSpec] = set()
    for operator in operators:
        needed.update(operator.inputs)
    return tuple(tensor for tensor in tensors if tensor in needed)


def _output_of(network: LoweredNetwork, module: str) -> TensorSpec:
    """Return the feature map that a module of the network returns.

    Raises:
        InputError: No operator writes it: it is fused with an activation, or rescaled as in squeeze-excite.
    """
    output = None
    for operator in network.operators:
        if f"{operator.name}.".startswith(f"{module}."):
            output = operator.output
    if output is None or len(output.shape) != 4 or ".se" in module or module == "head.hidden":
        raise InputError(
            f"an exit of a TFLite file needs the feature map of a stage or a block, but the tap is {module}; "
            "make the exits with another --tap, such as stages.1"
        )
    return output


def _side_head(name: str, tapped: TensorSpec, hidden: int, classes: int) -> list[Operator]:
    pool = TensorSpec(name=f"{name}.pool", shape=(1, 1, 1, tapped.channels))
    features = TensorSpec(name=f"{name}.hidden", shape=(1, 1, 1, hidden))
    logits = TensorSpec(name=f"{name}.classifier", shape=(1, classes))
    return [
        Operator(name=pool.name, kind="MEAN", inputs=(tapped,), output=pool),
        Operator(
            name=features.name,
            kind="CONV_2D",
            inputs=(pool,),
            output=features,
            layer=features.name,
            activation="relu",
        ),
        Operator(name=logits.name, kind="FULLY_CONNECTED", inputs=(features,), output=logits, layer=logits.name),
    ]
