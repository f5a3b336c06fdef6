"""Programs for the kernels: what a network computes, as operations on feature maps that program.c runs.

Layers describe themselves: those that the kernels cover have a method `emit(builder, x)`, which adds their operations
to a program and returns the map that they compute.
"""

import ctypes
import struct
from collections.abc import Mapping, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import Any, NamedTuple

from torch import nn

OPERATION_BYTES = 488  # of `operation` in program.c

_MAX_KERNEL = 15
_NONE = -1


class Kind(IntEnum):
    """Kinds of operations, as in program.c."""

    DENSE = 0
    POINTWISE = 1
    DEPTHWISE = 2
    SUM = 3
    GATE = 4
    AVERAGE = 5
    UPSAMPLE = 6


_ACTIVATIONS: dict[type[nn.Module], int] = {nn.Identity: 1, nn.ReLU: 2, nn.ReLU6: 3, nn.Hardswish: 4}  # as in vectors.h


class NotCoveredError(Exception):
    """The kernels do not cover a layer; the message names it."""


class Map(NamedTuple):
    """A feature map of a program, the output of an operation."""

    operation: int  # its number; -1: the images
    channels: int
    height: int
    width: int
    is_plain: bool = True  # not a convolution's output, whose norm and activation are applied by those who read it
    gate: int = _NONE  # the operation whose gates scale the map


Part = tuple[
    int, ...
]  # of a tensor: its number in a table, the first value's offset in floats, strides in 4 dimensions
Parts = Mapping[tuple[int, str], Part]  # by the id of a module's parameters or buffers, and the name among them

_NO_PART: Part = (_NONE, 0, 0, 0, 0, 0)


def part_of(number: int, offset: int, strides: Sequence[int]) -> Part:
    """Return the part of a tensor that begins at an offset, with strides in up to 4 dimensions."""
    return (number, offset) + tuple(strides) + (0,) * (4 - len(strides))


class Program(NamedTuple):
    """The operations of a network for images of one size."""

    operations: Any  # as program.c reads them, a C array
    length: int
    outputs: Any  # the numbers of the operations that compute the outputs, a C array
    output_shapes: tuple[tuple[int, ...], ...]  # without the batch: (C, H, W), or (C,) of averages
    fewest_pixels: int  # of the maps that are normalised
    tensors: tuple[int, ...]  # the numbers of the tensors it uses
    keys: frozenset[tuple[int, str]]  # the same as they are found in the modules


class ProgramBuilder:
    """Collects the operations of a network.

    Args:
        parts: Where the tensors of the network's layers are.
        channels: Of the images.
        height: Of the images, in pixels.
        width: Of the images, in pixels.
    """

    def __init__(self, parts: Parts, channels: int, height: int, width: int) -> None:
        self.images = Map(operation=_NONE, channels=channels, height=height, width=width)
        self._parts = parts
        self._operations: list[tuple[int, ...]] = []
        self._keys: set[tuple[int, str]] = set()
        self._fewest_pixels = height * width
        self._plain: dict[int, Map] = {}  # by the operation that computes a map before its norm

    def emit(self, layer: nn.Module, x: Map) -> Map:
        """Add the operations of a layer, and return its output.

        Raises:
            NotCoveredError: The kernels do not cover the layer.
        """
        if isinstance(layer, nn.Identity):
            return x
        emit = getattr(layer, "emit", None)
        if emit is None:
            raise NotCoveredError(f"the kernels do not cover {type(layer).__name__}")
        y: Map = emit(self, x)
        return y

    def convolution(self, x: Map, conv: nn.Conv2d, norm: nn.BatchNorm2d, act: nn.Module) -> Map:
        """Add a convolution with batch norm and an activation, which those who read the map apply.

        Raises:
            NotCoveredError: The kernels do not cover it.
        """
        kind = _kind_of(conv, reads_images=x.operation == _NONE)
        _check_norm(norm)
        if type(act) not in _ACTIVATIONS:
            raise NotCoveredError(f"the kernels do not cover the activation {type(act).__name__}")
        stride = conv.stride[0]
        number = self._add(
            kind,
            x,
            outputs=conv.out_channels,
            act=_ACTIVATIONS[type(act)],
            kernel=conv.kernel_size[0],
            stride=stride,
            weight=self._part(conv._parameters, "weight"),
            scale=self._part(norm._parameters, "weight"),
            shift=self._part(norm._parameters, "bias"),
            mean=self._part(norm._buffers, "running_mean"),
            variance=self._part(norm._buffers, "running_var"),
            updates=self._part(norm._buffers, "num_batches_tracked"),
            eps=norm.eps,
            momentum=-1.0 if norm.momentum is None else norm.momentum,
        )
        height, width = -(-x.height // stride), -(-x.width // stride)
        self._fewest_pixels = min(self._fewest_pixels, height * width)
        return Map(number, conv.out_channels, height, width, is_plain=False)

    def squeeze_excite(self, x: Map, reduce: nn.Conv2d, expand: nn.Conv2d) -> Map:
        """Add channel gates, computed from global averages by two layers with a ReLU between and a hard sigmoid behind.

        Raises:
            NotCoveredError: The map is a block's output.
        """
        if x.is_plain:
            raise NotCoveredError("the kernels do not cover squeeze-excite of anything but a convolution")
        gate = self._add(
            Kind.GATE,
            x,
            outputs=reduce.out_channels,
            weight=self._part(reduce._parameters, "weight"),
            shift=self._part(reduce._parameters, "bias"),
            expand=self._part(expand._parameters, "weight"),
            expand_shift=self._part(expand._parameters, "bias"),
        )
        return x._replace(gate=gate)

    def plain(self, x: Map) -> Map:
        """Return the map with norm and activation applied, as a shortcut or an output needs it."""
        if x.is_plain:
            return x
        if x.operation not in self._plain:
            self._plain[x.operation] = self._sum(x, shortcut=_NONE)
        return self._plain[x.operation]

    def sum(self, x: Map, shortcut: Map) -> Map:
        """Add the sum of a map and a plain one."""
        return self._sum(x, shortcut=shortcut.operation)

    def upsampled(self, x: Map, height: int, width: int) -> Map:
        """Add a plain map (C, ceil(height / 2), ceil(width / 2)) upsampled to (C, height, width), nearest neighbour."""
        x = x._replace(height=height, width=width)
        return x._replace(operation=self._add(Kind.UPSAMPLE, x, outputs=x.channels))

    def average(self, x: Map) -> Map:
        """Add the global averages of a map: (C, 1, 1)."""
        return Map(self._add(Kind.AVERAGE, x, outputs=x.channels), x.channels, 1, 1)

    def build(self, outputs: Sequence[Map]) -> Program:
        """Return the program with these outputs, plain maps or averages."""
        words: list[int] = []
        for operation in self._operations:
            words += operation
        numbers, shapes = [], []
        for output in outputs:
            numbers.append(output.operation)
            is_average = self._operations[output.operation][0] == Kind.AVERAGE
            shapes.append((output.channels,) if is_average else (output.channels, output.height, output.width))
        return Program(
            operations=c_array(words),
            length=len(self._operations),
            outputs=c_array(numbers),
            output_shapes=tuple(shapes),
            fewest_pixels=self._fewest_pixels,
            tensors=tuple(sorted({self._parts[key][0] for key in self._keys})),
            keys=frozenset(self._keys),
        )

    def _sum(self, x: Map, *, shortcut: int) -> Map:
        if x.gate != _NONE:
            raise NotCoveredError("the kernels do not cover squeeze-excite in front of anything but a 1x1 convolution")
        return Map(self._add(Kind.SUM, x, outputs=x.channels, shortcut=shortcut), x.channels, x.height, x.width)

    def _part(self, tensors: Mapping[str, Any], name: str) -> Part:
        """Return the part of a module's tensor, given the module's parameters or buffers."""
        key = id(tensors), name
        self._keys.add(key)
        return self._parts[key]

    def _add(
        self,
        kind: Kind,
        x: Map,
        *,
        outputs: int,
        act: int = 0,
        shortcut: int = _NONE,
        kernel: int = 1,
        stride: int = 1,
        weight: Part = _NO_PART,
        scale: Part = _NO_PART,
        shift: Part = _NO_PART,
        mean: Part = _NO_PART,
        variance: Part = _NO_PART,
        updates: Part = _NO_PART,
        expand: Part = _NO_PART,
        expand_shift: Part = _NO_PART,
        eps: float = 0.0,
        momentum: float = 0.0,
    ) -> int:
        """Add an operation that reads x, in the layout of `operation` in program.c, and return its number."""
        if x.gate != _NONE and kind != Kind.POINTWISE:
            raise NotCoveredError("the kernels do not cover squeeze-excite in front of anything but a 1x1 convolution")
        head = (kind, act, x.operation, shortcut, x.gate, x.channels, outputs, x.height, x.width, kernel, stride)
        parts = weight + scale + shift + mean + variance + updates + expand + expand_shift
        self._operations.append(head + parts + (_bits(eps), _bits(momentum)))
        return len(self._operations) - 1


def c_array(values: list[int]) -> Any:
    """Return an array of int64, as the kernels take operations, numbers and addresses."""
    memory: Any = (ctypes.c_int64 * len(values))()
    memory[:] = values
    return memory


@lru_cache(maxsize=256)
def _bits(value: float) -> int:
    """Return the bits of a double as an integer."""
    bits: int = struct.unpack("q", struct.pack("d", value))[0]
    return bits


def _kind_of(conv: nn.Conv2d, *, reads_images: bool) -> Kind:
    """Return the kind of a convolution. Raises NotCoveredError if there is none."""
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    expected = ((kernel, kernel), (stride, stride), (kernel // 2, kernel // 2), (1, 1))
    actual = (conv.kernel_size, conv.stride, conv.padding, conv.dilation)
    if actual == expected and kernel % 2 and kernel <= _MAX_KERNEL and conv.bias is None:
        if conv.groups == 1 and reads_images:
            return Kind.DENSE
        if conv.groups == conv.in_channels == conv.out_channels:
            return Kind.DEPTHWISE
        if conv.groups == 1 and kernel == stride == 1:
            return Kind.POINTWISE
    raise NotCoveredError(f"the kernels do not cover {conv}")


def _check_norm(norm: nn.BatchNorm2d) -> None:
    """Raise NotCoveredError unless the kernels cover a norm."""
    if not (isinstance(norm, nn.BatchNorm2d) and norm.affine and norm.track_running_stats):
        raise NotCoveredError(f"the kernels do not cover {norm}")
