"""From an arch to the operators that a target runs.

The lowered network is what is written to a `.tflite` file and what the memory of its arena is counted from. It computes
what `build(arch)` computes, with norms folded, and differs from its modules in these points:

- Hard swish is an operator of its own; relu and relu6 are fused into the convolution.
- A squeeze-excite gate relu6(z + 3) / 6 is a convolution with fused relu6: its bias is shifted by 3, and the division
  by 6 is moved into the weights of the projection that follows.
- A classifier's average pooling returns (1, features), so that the linear layer needs no reshape. A hidden linear layer
  is a convolution on one pixel, (1, 1, 1, features): TFLM and LiteRT round the outputs of convolutions alike, but those
  of linear layers differ by a step now and then, which the classifier would multiply.
- A detector's coarse map is resized to the size of the fine one directly, and its outputs are two feature maps
  (1, H, W, anchors * (5 + classes)).
- Of a network of padding "same", which turns the image by 180 degrees, the kernels are turned instead of the image.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from .arch import SAME, Arch
from .blocks import Block, Stem
from .heads import AnyHead, DetectorHead, Head
from .layer_cost import output_size
from .operators import LoweredNetwork, Operator, TensorSpec

INPUT_NAME = "images"
_FUSED = ("relu", "relu6")
_GATE_SHIFT, _GATE_SCALE = 3.0, 1 / 6  # hard sigmoid is relu6(z + 3) / 6


@lru_cache(maxsize=64)
def lower(arch: Arch) -> LoweredNetwork:
    """Return the operators of an arch's network.

    Args:
        arch: Classifier or detector.

    Returns:
        Operators in the order of execution, for one image (1, resolution, resolution, in_channels).
    """
    turned = arch.padding == SAME
    image = TensorSpec(name=INPUT_NAME, shape=(1, arch.resolution, arch.resolution, arch.in_channels))
    taps = arch.taps()
    tapped = []
    operators = list(lower_stem(arch.stem, image, turned=turned).operators)
    for s, stage in enumerate(arch.stages):
        for b, block in enumerate(stage):
            operators += lower_block(block, operators[-1].output, f"stages.{s}.{b}", turned=turned).operators
        if s in taps:
            tapped.append(operators[-1].output)
    head = lower_head(arch.head, tapped, arch.classes)
    return LoweredNetwork(inputs=(image,), operators=(*operators, *head.operators), outputs=head.outputs)


def lower_stem(stem: Stem, image: TensorSpec, *, turned: bool) -> LoweredNetwork:
    """Return the operators of a stem.

    Args:
        stem: The stem.
        image: What it reads.
        turned: Whether kernels are turned, as in networks of padding "same".
    """
    lowering = _Lowering(turned=turned)
    output = lowering.conv_norm(image, "stem", stem.out, kernel=stem.kernel, stride=stem.stride, act=stem.act)
    return lowering.finish([image], [output])


def lower_block(block: Block, x: TensorSpec, name: str, *, turned: bool) -> LoweredNetwork:
    """Return the operators of a block.

    Args:
        block: The block.
        x: What it reads.
        name: Its name in the network, with which those of its operators begin.
        turned: Whether kernels are turned, as in networks of padding "same".
    """
    lowering = _Lowering(turned=turned)
    return lowering.finish([x], [_lower_block(lowering, x, name, block)])


def lower_head(head: AnyHead, maps: Sequence[TensorSpec], classes: int) -> LoweredNetwork:
    """Return the operators of a head, whose kernels are never turned.

    Args:
        head: The head.
        maps: The feature maps that it reads.
        classes: Number of classes.
    """
    lowering = _Lowering(turned=False)
    return lowering.finish(maps, _LOWER_HEAD[type(head)](lowering, maps, head, classes))


class _Lowering:
    """Appends operators; each method returns the tensor that its operator writes.

    Args:
        turned: Whether the kernels of convolutions are turned.
    """

    def __init__(self, *, turned: bool) -> None:
        self.operators: list[Operator] = []
        self.turned = turned

    def finish(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> LoweredNetwork:
        """Return the operators with what they read and return."""
        return LoweredNetwork(inputs=tuple(inputs), operators=tuple(self.operators), outputs=tuple(outputs))

    def add(
        self, kind: str, name: str, inputs: Sequence[TensorSpec], shape: Sequence[int], **fields: Any
    ) -> TensorSpec:
        """Append an operator with further fields of `Operator`."""
        output = TensorSpec(name=name, shape=tuple(shape))
        self.operators.append(Operator(name=name, kind=kind, inputs=tuple(inputs), output=output, **fields))
        return output

    def conv_norm(
        self,
        x: TensorSpec,
        name: str,
        channels: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        depthwise: bool = False,
        act: str = "",
        weight_scale: float = 1.0,
    ) -> TensorSpec:
        """Append the operators of a `ConvNorm` with folded norm."""
        y = self.conv(
            x,
            name,
            channels,
            layer=f"{name}.conv",
            kernel=kernel,
            stride=stride,
            depthwise=depthwise,
            activation=act if act in _FUSED else "",
            weight_scale=weight_scale,
        )
        return self.hard_swish(y) if act == "hswish" else y

    def conv(
        self,
        x: TensorSpec,
        name: str,
        channels: int,
        *,
        layer: str,
        kernel: int = 1,
        stride: int = 1,
        depthwise: bool = False,
        **fields: Any,
    ) -> TensorSpec:
        """Append a convolution on square maps."""
        out_size = output_size(x.shape[1], stride)
        return self.add(
            "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
            name,
            [x],
            (1, out_size, out_size, channels),
            layer=layer,
            kernel=kernel,
            stride=stride,
            turned=self.turned,
            **fields,
        )

    def hidden(self, x: TensorSpec, name: str, features: int, act: str) -> TensorSpec:
        """Append a linear layer and its activation on the features of one pixel, as a convolution."""
        y = self.conv(x, name, features, layer=name, activation=act if act in _FUSED else "")
        return self.hard_swish(y) if act == "hswish" else y

    def linear(self, x: TensorSpec, name: str, features: int) -> TensorSpec:
        """Append a linear layer on features or on those of one pixel."""
        return self.add("FULLY_CONNECTED", name, [x], (1, features), layer=name)

    def hard_swish(self, x: TensorSpec) -> TensorSpec:
        """Append a hard swish."""
        return self.add("HARD_SWISH", f"{x.name}.act", [x], x.shape, overwritable=(0,))


def _lower_block(lowering: _Lowering, x: TensorSpec, name: str, block: Block) -> TensorSpec:
    y = x
    if block.mid:
        y = lowering.conv_norm(y, f"{name}.expand", block.mid, act=block.act)
    y = lowering.conv_norm(
        y,
        f"{name}.depthwise",
        y.channels,
        kernel=block.kernel,
        stride=block.stride,
        depthwise=True,
        act=block.act,
    )
    if block.se:
        y = _lower_squeeze_excite(lowering, y, f"{name}.se", block.se)
    scale = _GATE_SCALE if block.se else 1.0
    y = lowering.conv_norm(y, f"{name}.project", block.out, weight_scale=scale)
    if block.residual:
        y = lowering.add("ADD", f"{name}.add", [y, x], y.shape, overwritable=(0, 1))
    return y


def _lower_squeeze_excite(lowering: _Lowering, x: TensorSpec, name: str, squeeze: int) -> TensorSpec:
    """Append the operators of a squeeze-excite; the result is 6 times that of the module."""
    pooled = lowering.add("MEAN", f"{name}.pool", [x], (1, 1, 1, x.channels))
    reduced = lowering.conv(pooled, f"{name}.reduce", squeeze, layer=f"{name}.reduce", activation="relu")
    gate = lowering.conv(
        reduced,
        f"{name}.expand",
        x.channels,
        layer=f"{name}.expand",
        activation="relu6",
        bias_shift=_GATE_SHIFT,
    )
    return lowering.add("MUL", f"{name}.scale", [x, gate], x.shape, overwritable=(0,))


def _lower_classifier(
    lowering: _Lowering, maps: Sequence[TensorSpec], head: Head, classes: int
) -> tuple[TensorSpec, ...]:
    x = maps[0]
    if head.conv:
        x = lowering.conv_norm(x, "head.conv", head.conv, act=head.act)
    if head.hidden:
        x = lowering.add("MEAN", "head.pool", [x], (1, 1, 1, x.channels))
        x = lowering.hidden(x, "head.hidden", head.hidden, act=head.act)
    else:
        x = lowering.add("MEAN", "head.pool", [x], (1, x.channels))
    return (lowering.linear(x, "head.classifier", classes),)


def _lower_detector(
    lowering: _Lowering, maps: Sequence[TensorSpec], head: DetectorHead, classes: int
) -> tuple[TensorSpec, ...]:
    """Append a detector's head: the coarse map's predictions first, see `DetectorHead.layer_costs`."""
    coarse = lowering.conv_norm(maps[1], "head.lateral.1", head.width, act=head.act)
    fine = lowering.conv_norm(maps[0], "head.lateral.0", head.width, act=head.act)
    upsampled = lowering.add("RESIZE_NEAREST_NEIGHBOR", "head.double", [coarse], fine.shape)
    fine = lowering.add("ADD", "head.merge", [upsampled, fine], fine.shape, overwritable=(0, 1))
    coarse_output = _lower_predictions(lowering, coarse, 1, head, classes)
    return _lower_predictions(lowering, fine, 0, head, classes), coarse_output


def _lower_predictions(lowering: _Lowering, x: TensorSpec, level: int, head: DetectorHead, classes: int) -> TensorSpec:
    name = f"head.depthwise.{level}"
    x = lowering.conv_norm(x, name, head.width, kernel=head.kernel, depthwise=True, act=head.act)
    x = lowering.conv_norm(x, f"head.pointwise.{level}", head.width, act=head.act)
    name = f"head.classifier.{level}"
    return lowering.conv(x, name, head.per_cell * (5 + classes), layer=name)


_LOWER_HEAD: dict[type[AnyHead], Callable[..., Sequence[TensorSpec]]] = {
    Head: _lower_classifier,
    DetectorHead: _lower_detector,
}
