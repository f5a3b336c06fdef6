"""The different layers of an arch and of a search space, such as a user measures one by one on a board.

A layer is an operator of the lowered network, wherever it stands: what is measured is what a `.tflite` file holds.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import product
from typing import Any, NamedTuple

from ..utils.sizes import Size, format_size, pair, size_of
from .arch import SAME, Arch
from .blocks import Block, Stem
from .choices import BlockChoices
from .genes import Chooser, every_outcome
from .heads import AnyHead
from .layer_cost import FeatureMap
from .lowering import lower_block, lower_head, lower_stem, map_spec
from .operators import CONVOLUTIONS, KINDS, LoweredNetwork, Operator, TensorSpec
from .space import SearchSpace


class Layer(NamedTuple):
    """What decides how long an operator runs. Equal layers take the same time, wherever they stand in a network."""

    kind: str  # of KINDS
    size: Size  # pixels of the input: a number, or height and width; 1 of features
    in_channels: int
    out_size: Size  # pixels of the output
    out_channels: int
    kernel: Size = 1  # with the extension
    stride: Size = 1
    act: str = ""  # fused; "" for none

    @classmethod
    def of(cls, operator: Operator) -> "Layer":
        """Return the layer of an operator."""
        first = operator.inputs[0]
        return cls(
            kind=operator.kind,
            size=_size(first),
            in_channels=first.channels,
            out_size=_size(operator.output),
            out_channels=operator.output.channels,
            kernel=size_of(operator.stored_kernel),
            stride=size_of(operator.stride),
            act=operator.activation,
        )

    @property
    def output(self) -> FeatureMap:
        """The feature map that the layer writes."""
        return FeatureMap.of(self.out_channels, self.out_size)

    @property
    def weights(self) -> int:
        """Number of weights, biases not counted."""
        if self.kind == "DEPTHWISE_CONV_2D":
            return self.in_channels * _area(self.kernel)
        dense = self.kind in ("CONV_2D", "FULLY_CONNECTED")
        return self.in_channels * self.out_channels * _area(self.kernel) if dense else 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.weights * _area(self.out_size)

    @property
    def bytes_moved(self) -> int:
        """Bytes of the int8 input, output and weights."""
        inputs, outputs = self.in_channels * _area(self.size), self.out_channels * _area(self.out_size)
        return inputs + outputs + self.weights

    def describe(self) -> str:
        """Return the layer as text, such as "CONV_2D 3x3 stride 2 relu6 3x96x96 to 16x48x48"."""
        words = [self.kind]
        if self.kind in CONVOLUTIONS:
            words.append(_both_sides(self.kernel))
        if self.stride != 1:
            words.append(f"stride {format_size(self.stride)}")
        if self.act:
            words.append(self.act)
        words.append(f"{self.in_channels}x{_both_sides(self.size)}")
        words.append(f"to {self.out_channels}x{_both_sides(self.out_size)}")
        return " ".join(words)


def layers_of(arch: Arch) -> list[Layer]:
    """Return the layers of an arch in the order in which they run, repeated ones as often as they run."""
    turned, taps = arch.padding == SAME, arch.taps()
    layers = list(_stem_layers(arch.stem, FeatureMap.of(arch.in_channels, arch.resolution), turned))
    tapped = []
    for s, stage in enumerate(arch.stages):
        for block in stage:
            layers += _block_layers(block, layers[-1].output, turned)
        if s in taps:
            tapped.append(layers[-1].output)
    layers += _head_layers(arch.head, tuple(tapped), arch.classes)
    return layers


def layers_of_space(space: SearchSpace) -> list[Layer]:
    """Return the different layers of all archs of a space, sorted by kind, size and channels.

    They follow from the space's choices, stage by stage: a block's layers depend on the block's options and on the size
    and channels of its input only.
    """
    layers: set[Layer] = set()
    for resolution in space.resolution:
        layers.update(_layers_at(space, resolution))
    return sorted(layers, key=_sort_key)


def _sort_key(layer: Layer) -> tuple[Any, ...]:
    numbers = [pair(value) for value in layer if not isinstance(value, str)]
    return KINDS.index(layer.kind), numbers, layer.act


def _layers_at(space: SearchSpace, resolution: Size) -> Iterator[Layer]:
    """Yield the layers that archs of a resolution may have."""
    turned = space.padding == SAME
    maps: set[FeatureMap] = set()  # that the next block may read
    for width in space.stem.width:
        stem = Stem(out=width, kernel=space.stem.kernel, stride=space.stem.stride, act=space.stem.act)
        layers = _stem_layers(stem, FeatureMap.of(space.in_channels, resolution), turned)
        yield from layers
        maps.add(layers[-1].output)
    outputs: list[set[FeatureMap]] = []  # of the stages
    for stage in space.stages:
        ends: set[FeatureMap] = set()
        for depth, choices in enumerate(stage.blocks, start=1):
            next_maps: set[FeatureMap] = set()
            for block, feature_map in _blocks(space, choices, maps):
                layers = _block_layers(block, feature_map, turned)
                yield from layers
                next_maps.add(layers[-1].output)
            maps = next_maps
            if depth in stage.depth:
                ends |= maps
        maps = ends
        outputs.append(ends)
    yield from _layers_of_heads(space, [outputs[tap] for tap in space.max().taps()])


def _blocks(space: SearchSpace, choices: BlockChoices, maps: set[FeatureMap]) -> Iterator[tuple[Block, FeatureMap]]:
    """Yield every block of the choices for each of the maps that it may read, with the map."""
    for feature_map in maps:
        compose = partial(choices.compose, "", feature_map.channels, rounding=space.rounding)
        for block in every_outcome(compose):
            yield block, feature_map


def _layers_of_heads(space: SearchSpace, tapped: Sequence[set[FeatureMap]]) -> Iterator[Layer]:
    """Yield the layers of every head of the space, for each combination of the maps that it may read, finest first."""
    compose: Callable[[Chooser], AnyHead] = space.head.compose
    for head in every_outcome(compose):
        for maps in product(*tapped[-head.num_maps :]):
            yield from _head_layers(head, maps, space.classes)


@lru_cache(maxsize=2**8)
def _stem_layers(stem: Stem, image: FeatureMap, turned: bool) -> tuple[Layer, ...]:
    return _layers_in(lower_stem(stem, map_spec(image), turned=turned))


@lru_cache(maxsize=2**14)  # the archs of a space share a few thousand different blocks
def _block_layers(block: Block, feature_map: FeatureMap, turned: bool) -> tuple[Layer, ...]:
    return _layers_in(lower_block(block, map_spec(feature_map), "", turned=turned))


@lru_cache(maxsize=2**10)
def _head_layers(head: AnyHead, maps: tuple[FeatureMap, ...], classes: int) -> tuple[Layer, ...]:
    tensors = [map_spec(feature_map) for feature_map in maps]
    return _layers_in(lower_head(head, tensors, classes))


def _layers_in(network: LoweredNetwork) -> tuple[Layer, ...]:
    return tuple(map(Layer.of, network.operators))


def _size(tensor: TensorSpec) -> Size:
    """Return the pixels of a feature map; 1 of features."""
    return size_of(tensor.shape[1:3]) if len(tensor.shape) == 4 else 1


def _area(size: Size) -> int:
    height, width = pair(size)
    return height * width


def _both_sides(size: Size) -> str:
    return format_size(pair(size))
