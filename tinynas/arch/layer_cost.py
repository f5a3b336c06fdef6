"""A single layer as the device runs it, and its cost. The counting rules stand in `cost.py`."""

from collections.abc import Iterable
from typing import Any, NamedTuple

BIAS_BYTES = 4  # per output channel
SCALE_BYTES = 4  # per output channel: the factor from accumulator to int8
CONV, DEPTHWISE, LINEAR, POOL, ADD, SCALE, RESIZE = KINDS = (
    "conv",
    "depthwise",
    "linear",
    "pool",
    "add",
    "scale",
    "resize",
)  # of layers


class FeatureMap(NamedTuple):
    """A tensor (channels, size, size) of int8 activations."""

    channels: int
    size: int  # pixels along a side

    @property
    def num_bytes(self) -> int:
        """Memory of the activations."""
        return self.channels * self.size**2


class Layer(NamedTuple):
    """What a runtime runs as one operator: batch norm folded, the activation that follows is a part of it.

    Layers that are equal take the same time, wherever they stand in a network.
    """

    kind: str  # of KINDS
    size: int  # pixels along a side of the input
    in_channels: int
    out_size: int  # pixels along a side of the output
    out_channels: int
    kernel: int = 1
    stride: int = 1
    act: str = ""  # "" for none

    @property
    def weights(self) -> int:
        """Number of weights, biases not counted."""
        if self.kind == DEPTHWISE:
            return self.in_channels * self.kernel**2
        return self.in_channels * self.out_channels * self.kernel**2 if self.kind in (CONV, LINEAR) else 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.weights * self.out_size**2

    @property
    def bytes_moved(self) -> int:
        """Bytes of the int8 input, output and weights."""
        inputs, outputs = self.in_channels * self.size**2, self.out_channels * self.out_size**2
        return inputs + outputs + self.weights

    def describe(self) -> str:
        """Return the layer as text, such as "conv 3x3 stride 2 relu6 3x96x96 to 16x48x48"."""
        words = [self.kind]
        if self.kind in (CONV, DEPTHWISE):
            words.append(f"{self.kernel}x{self.kernel}")
        if self.stride > 1:
            words.append(f"stride {self.stride}")
        if self.act:
            words.append(self.act)
        words.append(f"{self.in_channels}x{self.size}x{self.size}")
        words.append(f"to {self.out_channels}x{self.out_size}x{self.out_size}")
        return " ".join(words)

    @classmethod
    def add(cls, channels: int, size: int) -> "Layer":
        """Return the addition of two maps (channels, size, size)."""
        return cls(kind=ADD, size=size, in_channels=channels, out_size=size, out_channels=channels)

    @classmethod
    def scale(cls, channels: int, size: int) -> "Layer":
        """Return the multiplication of the channels of a map (channels, size, size) by their gates."""
        return cls(kind=SCALE, size=size, in_channels=channels, out_size=size, out_channels=channels)

    @classmethod
    def global_pool(cls, channels: int, size: int) -> "Layer":
        """Return the average over all pixels of a map (channels, size, size)."""
        return cls(kind=POOL, size=size, in_channels=channels, out_size=1, out_channels=channels)

    @classmethod
    def resize(cls, channels: int, size: int, out_size: int) -> "Layer":
        """Return the resizing of a map (channels, size, size) to `out_size` x `out_size` pixels."""
        return cls(kind=RESIZE, size=size, in_channels=channels, out_size=out_size, out_channels=channels)


class LayerCost(NamedTuple):
    """Counts of one layer, or of several layers in sum; memory in bytes."""

    name: str  # as in `build(arch).named_modules()`
    layer: Layer | None = None  # None of a sum, and where runtimes have no operator of its own
    macs: int = 0
    params: int = 0
    flash: int = 0
    sram: int = 0  # input, output, and other tensors that are still needed
    sram_inplace_dw: int = 0  # the same with depthwise convolutions in place, without scratch
    scratch: int = 0
    kernel_buffer: int = 0

    def holding(self, num_bytes: int) -> "LayerCost":
        """Return the cost of the layer while that many more bytes are kept in memory."""
        if num_bytes == 0:
            return self
        return self._replace(sram=self.sram + num_bytes, sram_inplace_dw=self.sram_inplace_dw + num_bytes)

    @classmethod
    def total(cls, layers: Iterable["LayerCost"], name: str = "") -> "LayerCost":
        """Return the sum of the layers' counts and the maximum of each kind of memory."""
        columns: Any = cls._make(zip(*layers, strict=True))  # per field, the values of all layers; faster than a loop
        return cls(
            name=name,
            macs=sum(columns.macs),
            params=sum(columns.params),
            flash=sum(columns.flash),
            sram=max(columns.sram),
            sram_inplace_dw=max(columns.sram_inplace_dw),
            scratch=max(columns.scratch),
            kernel_buffer=max(columns.kernel_buffer),
        )


def output_size(size: int, stride: int) -> int:
    """Return the pixels along a side after a convolution with padding kernel // 2."""
    return (size - 1) // stride + 1


def conv_cost(
    name: str,
    *,
    in_channels: int,
    out_channels: int,
    size: int,
    kernel: int = 1,
    stride: int = 1,
    act: str = "",
    norm: bool = True,
    held: int = 0,
    kind: str = CONV,
) -> LayerCost:
    """Return the cost of a dense convolution on maps of `size` x `size` pixels while `held` more bytes are kept.

    With `norm`, a batch norm follows and no bias is learned; without it, a bias is.
    """
    out_size = output_size(size, stride)
    layer = Layer(
        kind=kind,
        size=size,
        in_channels=in_channels,
        out_size=out_size,
        out_channels=out_channels,
        kernel=kernel,
        stride=stride,
        act=act,
    )
    weights = layer.weights
    sram = in_channels * size**2 + out_channels * out_size**2 + held
    return LayerCost(
        name=name,
        layer=layer,
        macs=layer.macs,
        params=weights + (2 * out_channels if norm else out_channels),
        flash=weights + (BIAS_BYTES + SCALE_BYTES) * out_channels,
        sram=sram,
        sram_inplace_dw=sram,
        scratch=4 * kernel**2 * in_channels,
        kernel_buffer=2 * weights if kernel > 1 else 0,
    )


def linear_cost(name: str, *, in_features: int, out_features: int, act: str = "", held: int = 0) -> LayerCost:
    """Return the cost of a linear layer with bias while `held` more bytes are kept."""
    return conv_cost(
        name, in_channels=in_features, out_channels=out_features, size=1, act=act, norm=False, held=held, kind=LINEAR
    )


def depthwise_cost(
    name: str,
    *,
    channels: int,
    size: int,
    kernel: int,
    stride: int = 1,
    act: str = "",
    shortcut: int = 0,
    reads_shortcut: bool = False,
) -> LayerCost:
    """Return the cost of a depthwise convolution with batch norm while a shortcut of `shortcut` bytes is kept.

    With `reads_shortcut` the shortcut is the layer's own input: it is not counted twice, and overwriting it would
    lose it, so the layer does not run in place.
    """
    out_size = output_size(size, stride)
    layer = Layer(
        kind=DEPTHWISE,
        size=size,
        in_channels=channels,
        out_size=out_size,
        out_channels=channels,
        kernel=kernel,
        stride=stride,
        act=act,
    )
    weights = layer.weights
    input_bytes, output_bytes = channels * size**2, channels * out_size**2
    return LayerCost(
        name=name,
        layer=layer,
        macs=layer.macs,
        params=weights + 2 * channels,
        flash=weights + (BIAS_BYTES + SCALE_BYTES) * channels,
        sram=input_bytes + output_bytes + (0 if reads_shortcut else shortcut),
        sram_inplace_dw=max(input_bytes, output_bytes) + shortcut,
        scratch=2 * (size + 2 * (kernel // 2)) ** 2,
    )


def weightless_cost(name: str, sram: int, layer: Layer | None = None) -> LayerCost:
    """Return the cost of a layer without weights, such as pooling or an addition, which uses `sram` bytes."""
    return LayerCost(name=name, layer=layer, sram=sram, sram_inplace_dw=sram)
