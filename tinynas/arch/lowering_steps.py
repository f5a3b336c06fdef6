"""The steps by which blocks and heads describe the operators that a target runs."""

from collections.abc import Sequence
from typing import Any

from ..utils.sizes import Size, pair
from .checks import check_activation
from .layer_cost import output_size
from .operators import LoweredNetwork, Operator, TensorSpec

_FUSED = ("relu", "relu6")
_OPERATORS = {"hswish": "HARD_SWISH"}
_GATE_SHIFT, _GATE_SCALE = 3.0, 1 / 6  # hard sigmoid is relu6(z + 3) / 6


class Lowering:
    """Appends operators; each method returns the tensor that its operator writes.

    Args:
        turned: Whether the kernels of convolutions are turned.
    """

    def __init__(self, *, turned: bool) -> None:
        self.operators: list[Operator] = []
        self.turned = turned
        self._scales: dict[str, float] = {}  # factors of the weights that read a tensor, by its name

    def finish(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> LoweredNetwork:
        """Return the operators with what they read and return."""
        return LoweredNetwork(inputs=tuple(inputs), operators=tuple(self.operators), outputs=tuple(outputs))

    def add(
        self, kind: str, name: str, inputs: Sequence[TensorSpec], shape: Sequence[int], **fields: Any
    ) -> TensorSpec:
        """Append an operator with further fields of `Operator`. Raises InputError for an unknown activation."""
        if fused := fields.get("activation"):
            check_activation(fused, _FUSED)
        output = TensorSpec(name=name, shape=tuple(shape))
        self.operators.append(Operator(name=name, kind=kind, inputs=tuple(inputs), output=output, **fields))
        return output

    def conv_norm(
        self, x: TensorSpec, name: str, channels: int, *, kernel: Size = 1, stride: Size = 1, act: str = ""
    ) -> TensorSpec:
        """Append the operators of a `ConvNorm`, its norm folded into the convolution."""
        return self._conv_norm("CONV_2D", x, name, channels, kernel=kernel, stride=stride, act=act)

    def depthwise_norm(self, x: TensorSpec, name: str, *, kernel: Size, stride: Size = 1, act: str = "") -> TensorSpec:
        """Append the operators of a depthwise `ConvNorm`."""
        return self._conv_norm("DEPTHWISE_CONV_2D", x, name, x.channels, kernel=kernel, stride=stride, act=act)

    def conv(
        self,
        x: TensorSpec,
        name: str,
        channels: int,
        *,
        layer: str,
        kind: str = "CONV_2D",
        kernel: Size = 1,
        stride: Size = 1,
        **fields: Any,
    ) -> TensorSpec:
        """Append a convolution."""
        _, height, width, _ = x.shape
        vertical, horizontal = pair(stride)
        return self.add(
            kind,
            name,
            [x],
            (1, output_size(height, vertical), output_size(width, horizontal), channels),
            layer=layer,
            kernel=pair(kernel),
            stride=(vertical, horizontal),
            turned=self.turned,
            weight_scale=self._scales.get(x.name, 1.0),
            **fields,
        )

    def _conv_norm(
        self, kind: str, x: TensorSpec, name: str, channels: int, *, kernel: Size, stride: Size, act: str
    ) -> TensorSpec:
        fused = act if act in _FUSED else ""
        y = self.conv(
            x,
            name,
            channels,
            layer=f"{name}.conv",
            kind=kind,
            kernel=kernel,
            stride=stride,
            activation=fused,
            has_norm=True,
        )
        return self.activate(y, act)

    def hidden(self, x: TensorSpec, name: str, features: int, act: str) -> TensorSpec:
        """Append a linear layer and its activation on the features of one pixel, as a convolution."""
        y = self.conv(x, name, features, layer=name, activation=act if act in _FUSED else "")
        return self.activate(y, act)

    def linear(self, x: TensorSpec, name: str, features: int) -> TensorSpec:
        """Append a linear layer on features or on those of one pixel."""
        return self.add("FULLY_CONNECTED", name, [x], (1, features), layer=name)

    def activate(self, x: TensorSpec, act: str) -> TensorSpec:
        """Append an activation that is an operator of its own; one that is fused into the operator before is not.

        Raises:
            InputError: The activation is unknown.
        """
        if act:
            check_activation(act)
        if act not in _OPERATORS:
            return x
        return self.add(_OPERATORS[act], f"{x.name}.act", [x], x.shape, overwritable=(0,))

    def sum(self, x: TensorSpec, y: TensorSpec, name: str, *, act: str = "") -> TensorSpec:
        """Append an addition and its activation."""
        fused = act if act in _FUSED else ""
        return self.activate(self.add("ADD", name, [x, y], x.shape, overwritable=(0, 1), activation=fused), act)

    def squeeze_excite(self, x: TensorSpec, name: str, squeeze: int) -> TensorSpec:
        """Append the operators of a `SqueezeExcite`, whose output a convolution must read.

        The gate relu6(z + 3) / 6 is a convolution with relu6; the convolution that reads the output divides by 6.
        """
        pooled = self.add("MEAN", f"{name}.pool", [x], (1, 1, 1, x.channels))
        reduced = self.conv(pooled, f"{name}.reduce", squeeze, layer=f"{name}.reduce", activation="relu")
        gate = self.conv(
            reduced,
            f"{name}.expand",
            x.channels,
            layer=f"{name}.expand",
            activation="relu6",
            bias_shift=_GATE_SHIFT,
        )
        y = self.add("MUL", f"{name}.scale", [x, gate], x.shape, overwritable=(0,))
        self._scales[y.name] = _GATE_SCALE
        return y

    def pixelwise_linear(self, x: TensorSpec, name: str, features: int) -> TensorSpec:
        """Append a linear layer on the channels of every pixel."""
        return self.conv(x, name, features, layer=name)

    def layer_norm(self, x: TensorSpec, name: str) -> TensorSpec:
        """Append a layer norm on the channels of every pixel."""
        return self.add("LAYER_NORM", name, [x], x.shape, layer=name)

    def gelu(self, x: TensorSpec) -> TensorSpec:
        """Append a GELU."""
        return self.add("GELU", f"{x.name}.act", [x], x.shape, overwritable=(0,))

    def attend(self, query: TensorSpec, key: TensorSpec, value: TensorSpec, name: str, *, heads: int) -> TensorSpec:
        """Append the attention of every pixel to all pixels, from maps (1, H, W, heads * channels of a head)."""
        _, height, width, features = query.shape
        pixels = height * width
        scores_shape = (1, heads, pixels, pixels)
        scores = self.add("BATCH_MATMUL", f"{name}.scores", [query, key], scores_shape, depth=features // heads)
        weights = self.add("SOFTMAX", f"{name}.softmax", [scores], scores_shape, overwritable=(0,))
        return self.add("BATCH_MATMUL", f"{name}.attend", [weights, value], query.shape, depth=pixels)
