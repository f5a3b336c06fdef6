"""The different layers of an arch and of a search space, such as a user measures one by one on a board."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import product

from .arch import Arch
from .blocks import Block
from .choices import BlockChoices
from .cost import walk_costs
from .genes import Chooser, every_outcome
from .heads import AnyHead
from .layer_cost import KINDS, FeatureMap, Layer, LayerCost, conv_cost, output_size
from .space import SearchSpace


def layers_of(arch: Arch) -> list[Layer]:
    """Return the layers of an arch in the order in which they run, repeated ones as often as they run."""
    return [cost.layer for cost in walk_costs(arch, _block_costs) if cost.layer]


def _block_costs(name: str, block: Block, channels: int, size: int, keep_input: bool) -> Iterable[LayerCost]:
    return _cached_costs(block, channels, size)


@lru_cache(maxsize=2**14)  # the archs of a space share a few thousand different blocks
def _cached_costs(block: Block, channels: int, size: int) -> tuple[LayerCost, ...]:
    return tuple(block.layer_costs("", channels, size))


def layers_of_space(space: SearchSpace) -> list[Layer]:
    """Return the different layers of all archs of a space, sorted by kind, size and channels.

    They follow from the space's choices, stage by stage: a block's layers depend on the block's options and on the size
    and channels of its input only.
    """
    layers: set[Layer] = set()
    for resolution in space.resolution:
        for cost in _costs_at(space, resolution):
            if cost.layer:
                layers.add(cost.layer)
    return sorted(layers, key=_sort_key)


def _sort_key(layer: Layer) -> tuple[int, Layer]:
    return KINDS.index(layer.kind), layer


def _costs_at(space: SearchSpace, resolution: int) -> Iterator[LayerCost]:
    """Yield the costs of all layers that archs of a resolution may have."""
    stem = space.stem
    maps: set[FeatureMap] = set()  # that the next block may read
    for width in stem.width:
        yield conv_cost(
            "stem",
            in_channels=space.in_channels,
            out_channels=width,
            size=resolution,
            kernel=stem.kernel,
            stride=stem.stride,
            act=stem.act,
        )
        maps.add(FeatureMap(width, output_size(resolution, stem.stride)))
    outputs: list[set[FeatureMap]] = []  # of the stages
    for stage in space.stages:
        ends: set[FeatureMap] = set()
        for depth, choices in enumerate(stage.blocks, start=1):
            next_maps: set[FeatureMap] = set()
            for block, (channels, size) in _blocks(space, choices, maps):
                yield from block.layer_costs("", channels, size)
                next_maps.add(FeatureMap(block.out, output_size(size, block.stride)))
            maps = next_maps
            if depth in stage.depth:
                ends |= maps
        maps = ends
        outputs.append(ends)
    yield from _head_costs(space, [outputs[tap] for tap in space.max().taps()])


def _blocks(space: SearchSpace, choices: BlockChoices, maps: set[FeatureMap]) -> Iterator[tuple[Block, FeatureMap]]:
    """Yield every block of the choices for each of the maps that it may read, with the map."""
    for feature_map in maps:
        compose = partial(choices.compose, "", feature_map.channels, divisor=space.divisor, se_floor=space.se_floor)
        for block in every_outcome(compose):
            yield block, feature_map


def _head_costs(space: SearchSpace, tapped: Sequence[set[FeatureMap]]) -> Iterator[LayerCost]:
    """Yield the costs of the layers of every head of the space, for each combination of the maps that it may read."""
    compose: Callable[[Chooser], AnyHead] = space.head.compose
    for head in every_outcome(compose):
        for maps in product(*tapped):
            yield from head.layer_costs(maps, space.classes)
