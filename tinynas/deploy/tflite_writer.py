"""A lowered network as a TensorFlow Lite file, in fp32 or int8. Importing this module needs the extra `tflite`."""

from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ..arch.arena import ALIGNMENT, offline_plan
from ..arch.operators import CONVOLUTIONS, LoweredNetwork, Operator, TensorSpec
from .lowered_run import LayerWeights
from .quantization import Array, Quantization, quantize_layer

_SCHEMA_VERSION = 3
_FILE_IDENTIFIER = b"TFL3"
_INT8_VERSIONS = {  # of operators; in fp32 all have version 1
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 4,
    "ADD": 2,
    "MUL": 2,
    "MEAN": 2,
    "RESIZE_NEAREST_NEIGHBOR": 2,
    "HARD_SWISH": 1,
}
_FUSED_ACTIVATIONS = {
    "": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
}
_CHANNEL_AXES = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}  # of output channels in a file's weights
_FROM_TORCH = {  # axes of PyTorch's weights in a file's order
    "CONV_2D": (0, 2, 3, 1),
    "DEPTHWISE_CONV_2D": (1, 2, 3, 0),
    "FULLY_CONNECTED": (0, 1),
}


def write_tflite(
    network: LoweredNetwork,
    weights: Mapping[str, LayerWeights],
    quantizations: Mapping[str, Quantization] | None = None,
    *,
    kernels: str = "reference",
) -> bytes:
    """Return a TFLite file's bytes.

    All constants lie inside the flatbuffer, aligned to 16 bytes. The int8 file holds the offsets of its tensors for the
    memory planner of TensorFlow Lite Micro.

    Args:
        network: The network.
        weights: Weights by operator, as `layer_weights` returns them.
        quantizations: Quantization of every tensor of activations for an int8 file; None for fp32.
        kernels: For an int8 file, the kernels that the offsets are planned for, see `tinynas.arch.arena`.

    Raises:
        InputError: TFLite has no such operators.
    """
    network.check_tflite("a TFLite file")
    writer = _Writer(quantizations)
    for tensor in network.inputs:
        writer.add_activation(tensor)
    for operator in network.operators:
        writer.add_operator(operator, weights.get(operator.name))
    if quantizations is not None:
        writer.add_offline_plan(offline_plan(network, kernels=kernels))
    return writer.finish(network.inputs, network.outputs)


def pack(model: Any) -> bytes:
    """Return the file of a `ModelT` of the schema, its constants aligned to 16 bytes."""
    buffers = []
    for buffer in model.buffers:
        aligned_buffer = _AlignedBuffer()
        aligned_buffer.data = None if buffer.data is None else bytes(buffer.data)
        buffers.append(aligned_buffer)
    model.buffers = buffers
    builder = _SharingBuilder()
    builder.Finish(model.Pack(builder), _FILE_IDENTIFIER)
    return bytes(builder.Output())


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """A buffer of constants whose bytes are aligned to 16, which the schema asks for and its Python code ignores."""

    def Pack(self, builder: Any) -> int:  # noqa: N802
        """Write the buffer, and return its offset."""
        vector = None
        if self.data is not None:
            builder.StartVector(1, len(self.data), ALIGNMENT)
            builder.head -= len(self.data)
            builder.Bytes[builder.head : builder.head + len(self.data)] = self.data
            builder.vectorNumElems = len(self.data)
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        return int(schema.BufferEnd(builder))


class _SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """A builder that writes equal vectors of numbers, such as the zero points of weights, only once."""

    def __init__(self) -> None:
        super().__init__(1 << 16)
        self.vectors: dict[tuple[str, bytes], int] = {}  # offsets, by type and bytes

    def CreateNumpyVector(self, x: Array) -> int:  # noqa: N802
        """Return the offset of a vector, which is written unless there is an equal one."""
        key = x.dtype.str, x.tobytes()
        if key not in self.vectors:
            self.vectors[key] = super().CreateNumpyVector(x)
        return self.vectors[key]


class _Writer:
    """Collects the tensors, operators and constants of a file."""

    def __init__(self, quantizations: Mapping[str, Quantization] | None) -> None:
        self.quantizations = quantizations
        self.model = schema.ModelT()
        self.model.version, self.model.description = _SCHEMA_VERSION, b"tinynas"
        self.model.operatorCodes, self.model.metadata = [], []
        self.model.buffers = [schema.BufferT()]  # an empty one, of all activations
        self.graph = schema.SubGraphT()
        self.graph.name, self.graph.tensors, self.graph.operators = b"main", [], []
        self.model.subgraphs = [self.graph]
        self.activations: dict[str, int] = {}  # numbers of tensors, by name
        self.constants: dict[tuple[int, ...], int] = {}  # numbers of tensors, by value
        self.codes: dict[str, int] = {}  # numbers of operator codes, by kind

    def add_activation(self, tensor: TensorSpec) -> int:
        """Add a tensor of activations, and return its number."""
        kind, quantization = schema.TensorType.FLOAT32, None
        if self.quantizations is not None:
            parameters = self.quantizations[tensor.name]
            kind = schema.TensorType.INT8
            quantization = _quantization([parameters.scale], [parameters.zero_point])
        self.activations[tensor.name] = self._add_tensor(tensor.shape, kind, quantization, name=tensor.name)
        return self.activations[tensor.name]

    def add_operator(self, operator: Operator, layer: LayerWeights | None) -> None:
        """Add an operator with its weights, its constant and its output."""
        inputs = [self.activations[tensor.name] for tensor in operator.inputs]
        if layer is not None:
            inputs.extend(self._add_layer(operator, layer))
        if operator.constant:
            inputs.append(self._constant(operator.constant))
        written = schema.OperatorT()
        written.opcodeIndex = self._code(operator.kind)
        written.inputs = np.asarray(inputs, np.int32)
        written.outputs = np.asarray([self.add_activation(operator.output)], np.int32)
        written.builtinOptionsType, written.builtinOptions = _options(operator)
        self.graph.operators.append(written)

    def add_offline_plan(self, offsets: Mapping[str, int]) -> None:
        """Add the offsets of activations for TFLM's planner; -1 for constants."""
        planned = np.full(len(self.graph.tensors), -1, np.int32)
        for name, offset in offsets.items():
            planned[self.activations[name]] = offset
        metadata = schema.MetadataT()
        metadata.name = b"OfflineMemoryAllocation"
        header = np.asarray([1, 0, len(planned)], np.int32)  # version, subgraph, number of tensors
        metadata.buffer = self._add_buffer(np.concatenate([header, planned]))
        self.model.metadata.append(metadata)

    def finish(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> bytes:
        """Return the file."""
        self.graph.inputs = np.asarray([self.activations[tensor.name] for tensor in inputs], np.int32)
        self.graph.outputs = np.asarray([self.activations[tensor.name] for tensor in outputs], np.int32)
        return pack(self.model)

    def _add_layer(self, operator: Operator, layer: LayerWeights) -> tuple[int, int]:
        """Add the weight and the bias of a layer, and return their numbers."""
        if self.quantizations is None:
            weight = self._add_constant(_file_weight(operator, layer.weight.numpy()), schema.TensorType.FLOAT32)
            return weight, self._add_constant(layer.bias.numpy(), schema.TensorType.FLOAT32)
        quantized = quantize_layer(operator, layer, self.quantizations)
        axis, zeros = _CHANNEL_AXES[operator.kind], np.zeros(len(quantized.weight_scales))
        weight = self._add_constant(
            _file_weight(operator, quantized.weight),
            schema.TensorType.INT8,
            _quantization(quantized.weight_scales, zeros, axis),
        )
        bias_quantization = _quantization(quantized.bias_scales, zeros)
        return weight, self._add_constant(quantized.bias, schema.TensorType.INT32, bias_quantization)

    def _constant(self, value: tuple[int, ...]) -> int:
        """Return the number of the tensor that holds whole numbers; equal ones share it."""
        if value not in self.constants:
            self.constants[value] = self._add_constant(np.asarray(value, np.int32), schema.TensorType.INT32)
        return self.constants[value]

    def _add_constant(self, values: Array, kind: int, quantization: Any = None) -> int:
        return self._add_tensor(values.shape, kind, quantization, buffer=self._add_buffer(values))

    def _add_tensor(
        self, shape: Sequence[int], kind: int, quantization: Any, *, name: str = "", buffer: int = 0
    ) -> int:
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.buffer = np.asarray(shape, np.int32), kind, buffer
        tensor.name, tensor.quantization = name.encode(), quantization
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _add_buffer(self, values: Array) -> int:
        buffer = schema.BufferT()
        buffer.data = np.ascontiguousarray(values).tobytes()
        self.model.buffers.append(buffer)
        return len(self.model.buffers) - 1

    def _code(self, kind: str) -> int:
        if kind not in self.codes:
            code = schema.OperatorCodeT()
            code.builtinCode = getattr(schema.BuiltinOperator, kind)
            code.deprecatedBuiltinCode = code.builtinCode  # all kinds are old enough to have a code below 127
            code.version = 1 if self.quantizations is None else _INT8_VERSIONS[kind]
            self.codes[kind] = len(self.model.operatorCodes)
            self.model.operatorCodes.append(code)
        return self.codes[kind]


def _quantization(scales: Sequence[float] | Array, zero_points: Sequence[int] | Array, axis: int = 0) -> Any:
    parameters = schema.QuantizationParametersT()
    parameters.scale = np.asarray(scales, np.float32)
    parameters.zeroPoint = np.asarray(zero_points, np.int64)
    parameters.quantizedDimension = axis
    return parameters


def _file_weight(operator: Operator, weight: Array) -> Array:
    """Return a weight in the file's order of axes, with the kernel's extension."""
    rows, columns = operator.extension
    if rows or columns:
        added = ((rows, 0), (columns, 0)) if operator.turned else ((0, rows), (0, columns))
        weight = np.pad(weight, ((0, 0), (0, 0), *added))
    return weight.transpose(_FROM_TORCH[operator.kind])


def _options(operator: Operator) -> tuple[int, Any]:
    """Return the type and the values of an operator's options."""
    kinds = schema.BuiltinOptions
    activation = _FUSED_ACTIVATIONS[operator.activation]
    if operator.kind in CONVOLUTIONS:
        return _convolution_options(operator, activation)
    if operator.kind == "FULLY_CONNECTED":
        linear = schema.FullyConnectedOptionsT()
        linear.fusedActivationFunction = activation
        return kinds.FullyConnectedOptions, linear
    if operator.kind == "MEAN":
        mean = schema.ReducerOptionsT()
        mean.keepDims = len(operator.output.shape) == len(operator.inputs[0].shape)
        return kinds.ReducerOptions, mean
    if operator.kind == "ADD":
        add = schema.AddOptionsT()
        add.potScaleInt16, add.fusedActivationFunction = False, activation
        return kinds.AddOptions, add
    if operator.kind == "MUL":
        return kinds.MulOptions, schema.MulOptionsT()
    if operator.kind == "HARD_SWISH":
        return kinds.HardSwishOptions, schema.HardSwishOptionsT()
    return kinds.ResizeNearestNeighborOptions, schema.ResizeNearestNeighborOptionsT()


def _convolution_options(operator: Operator, activation: int) -> tuple[int, Any]:
    if operator.kind == "DEPTHWISE_CONV_2D":
        kind, options = schema.BuiltinOptions.DepthwiseConv2DOptions, schema.DepthwiseConv2DOptionsT()
        options.depthMultiplier = 1
    else:
        kind, options = schema.BuiltinOptions.Conv2DOptions, schema.Conv2DOptionsT()
    options.padding, options.fusedActivationFunction = schema.Padding.SAME, activation
    options.strideH, options.strideW = operator.stride
    options.dilationWFactor = options.dilationHFactor = 1
    return kind, options
