"""The cost of a single layer. The counting rules stand in `cost.py`."""

from collections.abc import Iterable
from typing import Any, NamedTuple

BIAS_BYTES = 4  # per output channel
SCALE_BYTES = 4  # per output channel: the factor from accumulator to int8


class FeatureMap(NamedTuple):
    """A tensor (channels, size, size) of int8 activations."""

    channels: int
    size: int  # pixels along a side

    @property
    def num_bytes(self) -> int:
        """Memory of the activations."""
        return self.channels * self.size**2


class LayerCost(NamedTuple):
    """Counts of one layer, or of several layers in sum; memory in bytes."""

    name: str  # as in `build(arch).named_modules()`
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
    norm: bool = True,
    held: int = 0,
) -> LayerCost:
    """Return the cost of a dense convolution on maps of `size` x `size` pixels while `held` more bytes are kept.

    With `norm`, a batch norm follows and no bias is learned; without it, a bias is.
    """
    out_size = output_size(size, stride)
    weights = in_channels * out_channels * kernel**2
    sram = in_channels * size**2 + out_channels * out_size**2 + held
    return LayerCost(
        name=name,
        macs=weights * out_size**2,
        params=weights + (2 * out_channels if norm else out_channels),
        flash=weights + (BIAS_BYTES + SCALE_BYTES) * out_channels,
        sram=sram,
        sram_inplace_dw=sram,
        scratch=4 * kernel**2 * in_channels,
        kernel_buffer=2 * weights if kernel > 1 else 0,
    )


def linear_cost(name: str, *, in_features: int, out_features: int, held: int = 0) -> LayerCost:
    """Return the cost of a linear layer with bias while `held` more bytes are kept."""
    return conv_cost(name, in_channels=in_features, out_channels=out_features, size=1, norm=False, held=held)


def depthwise_cost(
    name: str,
    *,
    channels: int,
    size: int,
    kernel: int,
    stride: int = 1,
    shortcut: int = 0,
    reads_shortcut: bool = False,
) -> LayerCost:
    """Return the cost of a depthwise convolution with batch norm while a shortcut of `shortcut` bytes is kept.

    With `reads_shortcut` the shortcut is the layer's own input: it is not counted twice, and overwriting it would
    lose it, so the layer does not run in place.
    """
    out_size = output_size(size, stride)
    weights = channels * kernel**2
    input_bytes, output_bytes = channels * size**2, channels * out_size**2
    return LayerCost(
        name=name,
        macs=weights * out_size**2,
        params=weights + 2 * channels,
        flash=weights + (BIAS_BYTES + SCALE_BYTES) * channels,
        sram=input_bytes + output_bytes + (0 if reads_shortcut else shortcut),
        sram_inplace_dw=max(input_bytes, output_bytes) + shortcut,
        scratch=2 * (size + 2 * (kernel // 2)) ** 2,
    )


def weightless_cost(name: str, sram: int) -> LayerCost:
    """Return the cost of a layer without weights, such as pooling or an addition, which uses `sram` bytes."""
    return LayerCost(name=name, sram=sram, sram_inplace_dw=sram)
