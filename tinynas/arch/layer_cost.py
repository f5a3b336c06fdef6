"""The cost of a single layer. The counting rules stand in `cost.py`."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from ..utils.sizes import Size, pair

BIAS_BYTES = 4  # per output channel
SCALE_BYTES = 4  # per output channel: the factor from accumulator to int8


class FeatureMap(NamedTuple):
    """A tensor (channels, height, width) of int8 activations."""

    channels: int
    height: int
    width: int

    @classmethod
    def of(cls, channels: int, size: Size) -> "FeatureMap":
        """Return the map of these channels and this size."""
        height, width = pair(size)
        return cls(channels, height, width)

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def num_bytes(self) -> int:
        """Memory of the activations."""
        return self.channels * self.pixels

    def after(self, channels: int, stride: Size) -> "FeatureMap":
        """Return the output map of a block with these output channels and this stride."""
        vertical, horizontal = pair(stride)
        return FeatureMap(channels, output_size(self.height, vertical), output_size(self.width, horizontal))


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


def linear_cost(name: str, *, in_features: int, out_features: int, held: int = 0) -> LayerCost:
    """Return the cost of a linear layer with bias while `held` more bytes are kept."""
    weights, sram = in_features * out_features, in_features + out_features + held
    return LayerCost(
        name=name,
        macs=weights,
        params=weights + out_features,
        flash=weights + (BIAS_BYTES + SCALE_BYTES) * out_features,
        sram=sram,
        sram_inplace_dw=sram,
        scratch=4 * in_features,
    )


def weightless_cost(name: str, sram: int) -> LayerCost:
    """Return the cost of a layer without weights, such as pooling or an addition, which uses `sram` bytes."""
    return LayerCost(name=name, sram=sram, sram_inplace_dw=sram)
