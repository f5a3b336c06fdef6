"""What an arch costs on the device, counted from the arch alone.

Counting rules:

- macs: multiply-accumulates of convolutions, linear layers and attention's matrix products, each counted as one, batch
  norm folded. The mobile-NAS papers and fvcore call them FLOPs.
- params: learnable parameters of `build(arch)`, batch-norm scales and shifts included.
- flash: bytes of int8 weights plus 4 B bias and 4 B scale per output channel; the runtime's code is not counted.
- file_tflite: bytes of the int8 TFLite file, which holds more than that (`file_size.py`).
- peak_sram: bytes of the int8 activations in memory at the worst layer, network input included, weights excluded.
  A layer holds its input, its output and a residual block's input, the latter from after the expansion until the
  addition. Additions, squeeze-excite scaling and softmax write to one of their inputs.
- peak_sram_inplace_dw: the same if depthwise convolutions overwrite their input (TinyEngine, Lin et al., 2020,
  section 3.2), plus TinyEngine's two buffers, each at its largest: `scratch` for input columns, 2*(H+2p)*(W+2p) for a
  depthwise convolution and 4*k*k*C_in for any other, and `kernel_buffer` for weights, 2*k*k*C_in*C_out for a
  convolution with k > 1.
- peak_sram_tflm, peak_sram_tflm_cmsis_nn: bytes of the arena of TensorFlow Lite Micro on a 32-bit chip, with reference
  kernels and with CMSIS-NN's (`arena.py`). It holds the activations of `peak_sram`, and what the runtime keeps for each
  operator.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, Protocol

from ..utils.units import format_bytes, format_count, format_seconds
from .arch import Arch
from .arena import arena
from .blocks import Block, Stem
from .file_size import tflite_bytes
from .heads import AnyHead
from .layer_cost import FeatureMap, LayerCost, linear_cost, weightless_cost
from .lowering import lower, lower_block, lower_head, lower_stem, map_spec
from .operator_cost import operator_costs


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one inference of one image takes, by the rules at the top of the module.

    The fields that are None by default are not known of every network.

    Attributes:
        macs: Multiply-accumulates of convolutions and linear layers.
        params: Learnable parameters.
        peak_sram: Largest memory of int8 activations, in bytes.
        peak_sram_inplace_dw: The same with in-place depthwise convolutions and scratch buffers, in bytes.
        flash: Memory of int8 weights, biases and scales, in bytes.
        peak_sram_tflm: Arena of TensorFlow Lite Micro with reference kernels on a 32-bit chip, in bytes.
        peak_sram_tflm_cmsis_nn: The same with CMSIS-NN's kernels for cores with DSP instructions, in bytes.
        file_tflite: Size of the int8 TFLite file, in bytes.
        latency: Seconds, by a `MeasuredCosts`.
        peak_sram_vela: Memory of the network that Vela compiles for an Ethos-U, in bytes.
        file_vela: Size of the TFLite file that Vela writes, in bytes.
        own: Costs of the user's own, by name.

    Example:
        >>> from tinynas import cost, load_arch
        >>> counts = cost(load_arch("mobilenet-v2-tiny"))
        >>> counts.macs, counts.params, counts.flash
        (23499152, 750280, 794528)
        >>> counts.peak_sram, counts.peak_sram_inplace_dw
        (311040, 302120)
    """

    macs: int
    params: int
    peak_sram: int
    peak_sram_inplace_dw: int
    flash: int
    peak_sram_tflm: int | None = None
    peak_sram_tflm_cmsis_nn: int | None = None
    file_tflite: int | None = None
    latency: float | None = None
    peak_sram_vela: int | None = None
    file_vela: int | None = None
    own: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the costs that are known.

        Returns:
            Cost by name of the field; `own` only if there is one.
        """
        return {name: value for name, value in asdict(self).items() if value not in (None, {})}

    def named(self) -> dict[str, float]:
        """Return the costs that are known.

        Returns:
            Cost by name, those of the user's own among the others.
        """
        costs = self.to_dict()
        costs.pop("own", None)
        return {**costs, **self.own}

    def with_values(self, values: Mapping[str, float]) -> "Cost":
        """Return the cost with further values.

        Args:
            values: Cost by name; what is no field is a cost of the user's own.

        Returns:
            The cost with all of them.
        """
        known = {name: value for name, value in values.items() if name in COSTS}
        own = {name: value for name, value in values.items() if name not in COSTS}
        return replace(self, own={**self.own, **own}, **known)  # type: ignore[arg-type]


COSTS = tuple(item.name for item in fields(Cost) if item.name != "own")
BYTES = tuple(name for name in COSTS if name not in ("macs", "params", "latency"))  # the costs in bytes
MEASURED = ("latency", "peak_sram_vela", "file_vela")  # the costs that no function of the arch returns
COUNTS = ("macs", "params", "peak_sram", "peak_sram_inplace_dw", "flash")  # the costs that `quick_cost` returns


class MeasuredCosts(Protocol):
    """Measures or predicts costs that are not counted, such as how long a network takes."""

    @property
    def digest(self) -> str:
        """What tells its figures from those of other sources, so that they are not mixed; empty for this machine's."""

    def measure(self, arch: Arch) -> Mapping[str, float]:
        """Return the costs of one inference of one image by name."""


def cost(arch: Arch) -> Cost:
    """Count what one inference of one image costs on the device, from the arch alone.

    The counting rules stand at the top of the module `tinynas.arch.cost`.

    Args:
        arch: Classifier or detector; its `resolution` is the image size.

    Returns:
        Multiply-accumulates and parameters (counts); peak SRAM, flash, arenas and file size (bytes of an int8 network).

    Example:
        >>> from tinynas import cost, load_arch
        >>> counts = cost(load_arch("mcunet-in3"))
        >>> counts.macs, counts.params
        (81785520, 737408)
        >>> counts.peak_sram, counts.flash
        (340736, 790536)
    """
    arena_bytes, cmsis_nn_bytes, file_bytes = _tflite_bytes(arch)
    return replace(
        quick_cost(arch),
        peak_sram_tflm=arena_bytes,
        peak_sram_tflm_cmsis_nn=cmsis_nn_bytes,
        file_tflite=file_bytes,
    )


def quick_cost(arch: Arch) -> Cost:
    """Return the costs in COUNTS, which take a small part of the time of all that `cost` counts."""
    total = LayerCost.total(walk_costs(arch, _block_total))
    return Cost(
        macs=total.macs,
        params=total.params,
        flash=total.flash,
        peak_sram=total.sram,
        peak_sram_inplace_dw=total.sram_inplace_dw + total.scratch + total.kernel_buffer,
    )


@lru_cache(maxsize=2**12)
def _tflite_bytes(arch: Arch) -> tuple[int | None, int | None, int | None]:
    """Return the bytes of TFLM's arenas, with reference kernels and with CMSIS-NN's, and of the int8 file; or None."""
    network = lower(arch)
    if not network.is_tflite:
        return None, None, None
    return arena(network).total, arena(network, kernels="cmsis-nn-dsp").total, tflite_bytes(network)


def layer_costs(arch: Arch) -> Iterator[LayerCost]:
    """Yield the cost of each layer in the order in which they run, named like the modules of `build(arch)`."""
    return walk_costs(arch, _block_layers)


def walk_costs(arch: Arch, block_costs: "BlockCosts") -> Iterator[LayerCost]:
    """Yield the costs of the stem, of the blocks as `block_costs` counts them, and of the head's layers."""
    image = FeatureMap.of(arch.in_channels, arch.resolution)
    yield from _stem_layers(arch.stem, image)
    feature_map = image.after(arch.stem.out, arch.stem.stride)
    taps = arch.taps()
    tapped: list[FeatureMap] = []  # kept in memory for the head
    tapped_bytes = 0
    for s, stage in enumerate(arch.stages):
        for b, block in enumerate(stage):
            reads_tapped = b == 0 and s - 1 in taps
            beside_input = tapped_bytes - feature_map.num_bytes if reads_tapped else tapped_bytes
            for layer in block_costs(f"stages.{s}.{b}", block, feature_map, reads_tapped):
                yield layer.holding(beside_input) if beside_input else layer
            feature_map = feature_map.after(block.out, block.stride)
        if s in taps:
            tapped.append(feature_map)
            tapped_bytes += feature_map.num_bytes
    yield from _head_layers(arch.head, tuple(tapped), arch.classes)


@lru_cache(maxsize=2**10)
def _head_layers(head: AnyHead, tapped: tuple[FeatureMap, ...], classes: int) -> tuple[LayerCost, ...]:
    maps = [map_spec(of_stage, f"maps.{number}") for number, of_stage in enumerate(tapped)]
    return tuple(operator_costs(lower_head(head, maps, classes)))


@lru_cache(maxsize=2**8)
def _stem_layers(stem: Stem, image: FeatureMap) -> tuple[LayerCost, ...]:
    return tuple(operator_costs(lower_stem(stem, map_spec(image), turned=False)))


BlockCosts = Callable[[str, Block, FeatureMap, bool], Iterable[LayerCost]]  # name, block, its input, is that kept?


def _block_layers(name: str, block: Block, feature_map: FeatureMap, keep_input: bool) -> Iterable[LayerCost]:
    return operator_costs(lower_block(block, map_spec(feature_map), name, turned=False), keep_input=keep_input)


def _block_total(name: str, block: Block, feature_map: FeatureMap, keep_input: bool) -> Iterable[LayerCost]:
    return (_cached_total(block, feature_map, keep_input),)


@lru_cache(maxsize=2**14)  # the archs of a space share a few thousand different blocks
def _cached_total(block: Block, feature_map: FeatureMap, keep_input: bool) -> LayerCost:
    return LayerCost.total(_block_layers("", block, feature_map, keep_input))


def side_head_costs(features: int, hidden: int, classes: int, held: int) -> list[LayerCost]:
    """Return the costs of a side head's layers on `features` channels while `held` bytes are kept for later layers."""
    return [
        weightless_cost("side.pool", held + features),
        linear_cost("side.hidden", in_features=features, out_features=hidden, held=held),
        linear_cost("side.classifier", in_features=hidden, out_features=classes, held=held),
    ]


def describe(name: str, value: float) -> str:
    """Return a cost as text with a unit, such as "256KB" for 262144 of `peak_sram`; one of the user's own has none."""
    if name == "latency":
        return format_seconds(value)
    if name in ("macs", "params", "min_macs"):
        return format_count(value)
    return format_bytes(value) if name in BYTES else f"{value:.4g}"
