"""The lowered network as data: the operators that a target runs, in order, and the tensors between them.

Kinds are named as TensorFlow Lite names its operators, which has no layer norm. Shapes are channels-last and hold one
image.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from ..utils.errors import InputError

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
TFLITE_KINDS = (*CONVOLUTIONS, "FULLY_CONNECTED", "MEAN", "ADD", "MUL", "HARD_SWISH", "RESIZE_NEAREST_NEIGHBOR")
KINDS = (*TFLITE_KINDS, "LAYER_NORM", "BATCH_MATMUL", "SOFTMAX", "GELU")


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """A tensor of activations: an input of the network, or what an operator writes.

    Attributes:
        name: The operator's name; "images" for the network's input.
        shape: (1, height, width, channels), (1, features), or (1, heads, pixels, pixels) of attention.
    """

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    def channels(self) -> int:
        """Channels of a feature map, or features."""
        return self.shape[-1]


@dataclass(frozen=True, kw_only=True)
class Operator:
    """A step of a lowered network.

    A convolution of `build(arch)` pads its input by kernel // 2 on every side, and does not read all of the last rows
    if the stride does not fit. In a network of padding "same" it does so on an image turned by 180 degrees; the
    operator has a turned kernel instead, and the first rows are those that are not read. With a stride of 2, this is
    what TensorFlow Lite's SAME padding does. Where it is not, `extension` rows and columns of zeros are added to the
    kernel, so that SAME padding of the larger kernel computes the same outputs.

    Attributes:
        name: Unique name; that of the module of `build(arch)` where there is one.
        kind: One of KINDS; "MEAN" is over height and width.
        inputs: Tensors that are read, without weights.
        output: Tensor that is written.
        layer: Module of the network with folded norms that holds the weight and the bias; "" for none.
        kernel: Height and width of the kernel in pixels, without the extension.
        stride: Vertical and horizontal stride in pixels.
        turned: Whether the kernel is that of the layer turned by 180 degrees.
        has_norm: Whether the layer's bias is that of a batch norm, folded into it.
        activation: Fused activation: "relu", "relu6" or "" for none.
        weight_scale: Factor of the layer's weight.
        bias_shift: Addend of the layer's bias.
        depth: Products that a BATCH_MATMUL adds up for each value of its output.
        overwritable: Positions of the inputs that the output may overwrite if no later operator reads them.
    """

    name: str
    kind: str
    inputs: tuple[TensorSpec, ...]
    output: TensorSpec
    layer: str = ""
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    turned: bool = False
    has_norm: bool = False
    activation: str = ""
    weight_scale: float = 1.0
    bias_shift: float = 0.0
    depth: int = 0
    overwritable: tuple[int, ...] = ()

    @property
    def padding(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows and columns of zeros around a convolution's input, each before the first pixel and after the last.

        A negative number means pixels that the convolution does not read.
        """
        rows, columns = self._left_over
        return _padding(self.kernel[0], rows, self.turned), _padding(self.kernel[1], columns, self.turned)

    @property
    def extension(self) -> tuple[int, int]:
        """Rows and columns of zeros added to the kernel, after its last or, if it is turned, before its first."""
        rows, columns = self._left_over
        vertical, horizontal = self.padding
        return _extension(vertical, rows), _extension(horizontal, columns)

    @property
    def stored_kernel(self) -> tuple[int, int]:
        """Height and width of the kernel with the extension."""
        rows, columns = self.extension
        return self.kernel[0] + rows, self.kernel[1] + columns

    @property
    def constant(self) -> tuple[int, ...]:
        """Whole numbers that the operator reads as a tensor: axes of a mean, or the size to resize to; () for none."""
        if self.kind == "MEAN":
            return (1, 2)
        return self.output.shape[1:3] if self.kind == "RESIZE_NEAREST_NEIGHBOR" else ()

    @property
    def num_weights(self) -> int:
        """Number of weights without biases and without the extension."""
        return self._weights(self.kernel)

    @property
    def num_stored_weights(self) -> int:
        """Number of weights that a file holds, the extension included."""
        return self._weights(self.stored_kernel)

    @property
    def macs(self) -> int:
        """Multiply-accumulates, without those with the extension's zeros."""
        return self._macs(self.num_weights)

    @property
    def executed_macs(self) -> int:
        """Multiply-accumulates that the target executes, those with the extension's zeros included."""
        return self._macs(self.num_stored_weights)

    @property
    def num_biases(self) -> int:
        """Number of biases: one per output channel of a layer with weights."""
        return self.output.channels if self.layer else 0

    @property
    def _left_over(self) -> tuple[int, int]:
        """Rows and columns of a convolution's input after the last ones that a kernel's centre is on."""
        if self.kind not in CONVOLUTIONS:
            return 0, 0
        _, height, width, _ = self.inputs[0].shape
        return (height - 1) % self.stride[0], (width - 1) % self.stride[1]

    def _macs(self, weights: int) -> int:
        if self.kind == "LAYER_NORM":
            return 0
        pixels = self.output.size // self.output.channels
        return weights * pixels + self.output.size * self.depth

    def _weights(self, kernel: tuple[int, int]) -> int:
        if not self.layer:
            return 0
        inputs = 1 if self.kind in ("DEPTHWISE_CONV_2D", "LAYER_NORM") else self.inputs[0].channels
        return inputs * self.output.channels * kernel[0] * kernel[1]


def _padding(kernel: int, left_over: int, turned: bool) -> tuple[int, int]:
    half = kernel // 2
    return (half - left_over, half) if turned else (half, half - left_over)


def _extension(padding: tuple[int, int], left_over: int) -> int:
    before, after = padding
    padded_before_by_same = max(before + after, 0) // 2
    return 0 if padded_before_by_same == before else left_over


@dataclass(frozen=True, kw_only=True)
class LoweredNetwork:
    """A network, or a part of one, as the operators that a target runs.

    Attributes:
        inputs: The image; of a part of a network, what an earlier part returns.
        operators: The operators in the order of execution.
        outputs: The logits of a classifier, or a detector's predictions: boxes and classes of each feature map that it
            reads, the coarsest first.
    """

    inputs: tuple[TensorSpec, ...]
    operators: tuple[Operator, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def kinds(self) -> set[str]:
        """The kinds of its operators."""
        return {operator.kind for operator in self.operators}

    @property
    def is_tflite(self) -> bool:
        """Whether TFLite files can hold it."""
        return self.kinds <= set(TFLITE_KINDS)

    def check_tflite(self, what: str) -> None:
        """Raise InputError unless TFLite files can hold the network; the text begins with `what` needs that."""
        others = sorted(self.kinds - set(TFLITE_KINDS))
        if others:
            raise InputError(
                f"{what} cannot have {', '.join(others)}, as this network has; export it as ONNX, or use other blocks"
            )

    @property
    def executed_macs(self) -> int:
        """Multiply-accumulates that the target executes, those with the zeros of extensions included."""
        return sum([operator.executed_macs for operator in self.operators])

    def tensors(self) -> Iterator[TensorSpec]:
        """Yield the network's inputs and every operator's output, in the order of execution."""
        yield from self.inputs
        for operator in self.operators:
            yield operator.output
