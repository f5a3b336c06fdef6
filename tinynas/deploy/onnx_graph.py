"""A lowered network as an ONNX graph in fp32, made in milliseconds, to time an arch that has no trained weights.

Exported files are made by PyTorch (`onnx.py`), whose graphs are those of the network's modules.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..arch.operators import CONVOLUTIONS, LoweredNetwork, Operator, TensorSpec
from .lowered_run import LayerWeights
from .quantization import Array

_OPSET, _IR_VERSION = 18, 10
_KINDS = {
    "CONV_2D": "Conv",
    "DEPTHWISE_CONV_2D": "Conv",
    "FULLY_CONNECTED": "Gemm",
    "ADD": "Add",
    "MUL": "Mul",
    "MEAN": "ReduceMean",
    "HARD_SWISH": "HardSwish",
    "RESIZE_NEAREST_NEIGHBOR": "Resize",
}


def to_onnx_graph(network: LoweredNetwork, weights: Mapping[str, LayerWeights]) -> onnx.ModelProto:
    """Return an ONNX model of a lowered network; feature maps are (1, C, H, W).

    Args:
        network: The network.
        weights: Weights by operator, as `layer_weights` returns them.

    Raises:
        InputError: It has operators that TFLite has not, which are not written here either.
    """
    network.check_tflite("timing a network without trained weights")
    graph = _Graph()
    for operator in network.operators:
        graph.add_operator(operator, weights.get(operator.name))
    inputs = [_value(tensor) for tensor in network.inputs]
    outputs = [_value(tensor) for tensor in network.outputs]
    proto = helper.make_graph(graph.nodes, "tinynas", inputs, outputs, graph.constants)
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)


class _Graph:
    """Collects the nodes and constants of a graph."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add_operator(self, operator: Operator, layer: LayerWeights | None) -> None:
        """Add the node of an operator, and those of its padding and its activation."""
        name = operator.name
        inputs, attributes = [tensor.name for tensor in operator.inputs], _attributes(operator)
        (top, bottom), (left, right) = operator.padding
        if (
            operator.kind in CONVOLUTIONS and min(top, bottom, left, right) < 0
        ):  # Conv cannot leave out the first pixels
            inputs = [self._padded(operator)]
        elif operator.kind in CONVOLUTIONS:
            attributes["pads"] = [top, left, bottom, right]
        if operator.kind == "FULLY_CONNECTED" and len(operator.inputs[0].shape) == 4:
            self.nodes.append(helper.make_node("Flatten", inputs, [f"{name}.flat"]))
            inputs = [f"{name}.flat"]
        if layer is not None:
            inputs.append(self._constant(f"{name}.weight", layer.weight.numpy()))
            inputs.append(self._constant(f"{name}.bias", layer.bias.numpy()))
        if operator.kind == "MEAN":
            inputs.append(self._constant(f"{name}.axes", np.asarray([2, 3])))
        if operator.kind == "RESIZE_NEAREST_NEIGHBOR":
            inputs += ["", "", self._constant(f"{name}.sizes", np.asarray(_onnx_shape(operator.output)))]
        output = f"{name}.linear" if operator.activation else name
        self.nodes.append(helper.make_node(_KINDS[operator.kind], inputs, [output], **attributes))
        if operator.activation:
            self._add_activation(operator.activation, output, name)

    def _add_activation(self, kind: str, linear: str, name: str) -> None:
        bounds = [self._constant(f"{name}.low", np.float32(0))]
        if kind == "relu6":
            bounds.append(self._constant(f"{name}.high", np.float32(6)))
        self.nodes.append(helper.make_node("Clip", [linear, *bounds], [name]))

    def _padded(self, operator: Operator) -> str:
        """Add the padding of a convolution as a node, and return the name of what it writes."""
        (top, bottom), (left, right) = operator.padding
        pads = self._constant(f"{operator.name}.pads", np.asarray([0, 0, top, left, 0, 0, bottom, right]))
        padded = f"{operator.name}.padded"
        self.nodes.append(helper.make_node("Pad", [operator.inputs[0].name, pads], [padded]))
        return padded

    def _constant(self, name: str, values: Array | np.float32) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name


def _attributes(operator: Operator) -> dict[str, Any]:
    """Return the attributes of an operator's node, without padding."""
    if operator.kind in CONVOLUTIONS:
        group = operator.output.channels if operator.kind == "DEPTHWISE_CONV_2D" else 1
        return {"group": group, "strides": list(operator.stride)}
    if operator.kind == "FULLY_CONNECTED":
        return {"transB": 1}
    if operator.kind == "MEAN":
        return {"keepdims": int(len(operator.output.shape) == 4)}
    if operator.kind == "RESIZE_NEAREST_NEIGHBOR":
        return {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return {}


def _onnx_shape(tensor: TensorSpec) -> tuple[int, ...]:
    """Return a tensor's shape with channels before height and width."""
    if len(tensor.shape) == 2:
        return tensor.shape
    batch, height, width, channels = tensor.shape
    return batch, channels, height, width


def _value(tensor: TensorSpec) -> Any:
    return helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, _onnx_shape(tensor))
