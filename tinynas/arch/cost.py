"""What an arch costs on the device, counted from the arch alone.

Counting rules:

- macs: multiply-accumulates of convolutions and linear layers, one each, batch norm folded. The mobile-NAS
  papers and fvcore call them FLOPs.
- params: learnable parameters of `build(arch)`, batch-norm affine included.
- flash: bytes of int8 weights plus 4 B bias and 4 B scale per output channel; the runtime's code is not counted.
- peak_sram: bytes of int8 activations alive at the worst step, the network's input counted, weights not.
  A step holds its input, its output, and a residual block's input from after the expansion until the addition,
  which accumulates in place (so does the squeeze-excite scaling).
- peak_sram_inplace_dw: the same where a depthwise convolution overwrites its input (TinyEngine, Lin et al., 2020,
  section 3.2), plus TinyEngine's two buffers at their largest: `scratch` for input columns, 2*(H+2p)*(W+2p) of a
  depthwise convolution and 4*k*k*C_in of any other, and `kernel_buffer` for weights, 2*k*k*C_in*C_out of a
  convolution with k > 1.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from ..utils.units import format_bytes, format_count, format_seconds
from .arch import Arch, Block, DetectorHead, Head


class Step(NamedTuple):
    """One layer as the device runs it. Memory in bytes."""

    name: str
    macs: int
    params: int
    flash: int
    sram: int  # input + output + what a shortcut still needs
    sram_inplace_dw: int  # the same with depthwise convolutions in place, without scratch
    scratch: int
    kernel_buffer: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Counts of one inference of one image; memory in bytes. The module's text has the rules."""

    macs: int
    params: int
    peak_sram: int
    peak_sram_inplace_dw: int
    flash: int


@dataclass(frozen=True, kw_only=True)
class TimedCost(Cost):
    """Counts beside a measurement: `latency`, seconds of one inference on the machine that searches."""

    latency: float


def cost(arch: Arch) -> Cost:
    """Count an arch."""
    total = _total(_layers(arch, lambda name, *block: (_block_total(*block),)))
    return Cost(
        macs=total.macs,
        params=total.params,
        flash=total.flash,
        peak_sram=total.sram,
        peak_sram_inplace_dw=total.sram_inplace_dw + total.scratch + total.kernel_buffer,
    )


def steps(arch: Arch) -> Iterator[Step]:
    """The layers in the order in which they run, named like the modules of `build(arch)`."""
    return _layers(arch, _block)


def _layers(arch: Arch, of_block: Callable[[str, Block, int, int, bool], Iterable[Step]]) -> Iterator[Step]:
    """The layers, or what `of_block` makes of those of a block.

    It is given the block's name, the block, its input's channels and size, and whether the head needs that input too.
    """
    stem = arch.stem
    yield _conv("stem", arch.in_channels, stem.out, arch.resolution, stem.kernel, stem.stride)
    channels, size = stem.out, out_size(arch.resolution, stem.stride)
    maps: list[tuple[int, int]] = []  # that the head reads: channels and size
    taps = arch.taps()
    for s, stage in enumerate(arch.stages):
        for b, block in enumerate(stage):
            reads_map = b == 0 and s - 1 in taps
            held = 0 if reads_map else sum(width * side**2 for width, side in maps)
            for step in of_block(f"stages.{s}.{b}", block, channels, size, reads_map):
                yield _beside(step, held)
            channels, size = block.out, out_size(size, block.stride)
        if s in taps:
            maps.append((channels, size))
    if isinstance(arch.head, DetectorHead):
        yield from _detector_head(arch.head, maps, arch.classes)
    else:
        yield from _classifier_head(arch.head, *maps[0], arch.classes)


def _classifier_head(head: Head, channels: int, size: int, classes: int) -> Iterator[Step]:
    if head.conv:
        yield _conv("head.conv", channels, head.conv, size)
        channels = head.conv
    yield _free("head.pool", channels * size**2 + channels)
    if head.hidden:
        yield _conv("head.hidden", channels, head.hidden, norm=False)
        channels = head.hidden
    yield _conv("head.classifier", channels, classes, norm=False)


def side_head(features: int, hidden: int, classes: int, held: int) -> list[Step]:
    """The layers of a side head on feature maps of `features` channels, beside the `held` bytes that are to go on."""
    return [
        _free("side.pool", held + features),
        _conv("side.hidden", features, hidden, held=held, norm=False),
        _conv("side.classifier", hidden, classes, held=held, norm=False),
    ]


def _detector_head(head: DetectorHead, maps: Sequence[tuple[int, int]], classes: int) -> Iterator[Step]:
    """The coarse map's part runs first, and its outputs are held until the fine map's are there."""
    (channels, size), (deep, small) = maps
    fine, coarse, doubled = (head.width * side**2 for side in (size, small, 2 * small))
    made = head.per_cell * (5 + classes)
    yield _conv("head.lateral.1", deep, head.width, small, held=channels * size**2)
    yield _conv("head.lateral.0", channels, head.width, size, held=coarse)
    yield _free("head.double", coarse + fine + doubled)
    if doubled != fine:
        yield _free("head.crop", coarse + 2 * fine + doubled)
    yield _free("head.merge", coarse + 2 * fine)
    block = Block(out=head.width, kernel=head.kernel)
    for level, side, held in ((1, small, fine), (0, size, made * small**2)):
        yield _beside(_depthwise(f"head.depthwise.{level}", block, head.width, side, 0), held)
        yield _conv(f"head.pointwise.{level}", head.width, head.width, side, held=held)
        yield _conv(f"head.classifier.{level}", head.width, made, side, held=held, norm=False)
    yield _free("head.outputs", made * (size**2 + small**2))


def _beside(step: Step, held: int) -> Step:
    """The step while other bytes are held too."""
    return step._replace(sram=step.sram + held, sram_inplace_dw=step.sram_inplace_dw + held) if held else step


def _total(layers: Iterable[Step]) -> Step:
    """Counts added up, and the most of each kind of memory."""
    _, macs, params, flash, *memory = zip(*layers, strict=True)
    return Step("", sum(macs), sum(params), sum(flash), *map(max, memory))


@lru_cache(maxsize=2**14)  # the archs of a space are made of the same few thousand blocks
def _block_total(block: Block, channels: int, size: int, kept: bool) -> Step:
    return _total(_block("", block, channels, size, kept))


def out_size(size: int, stride: int) -> int:
    """Pixels along one side after a convolution with padding kernel // 2."""
    return (size - 1) // stride + 1


def read_cost(plain: Mapping[str, Any]) -> Cost:
    """The cost that `asdict` made plain."""
    return (TimedCost if "latency" in plain else Cost)(**plain)


def describe(name: str, value: float) -> str:
    """A cost as people read it: describe("peak_sram", 262144) is "256KB"."""
    if name == "latency":
        return format_seconds(value)
    return format_count(value) if name in ("macs", "params", "min_macs") else format_bytes(value)


def _block(name: str, block: Block, channels: int, size: int, kept: bool) -> Iterator[Step]:
    """A block's layers; its input is a shortcut, or `kept` for the head, or dead after the first of them."""
    mid, small = block.mid or channels, out_size(size, block.stride)
    shortcut = channels * size**2 if block.residual or kept else 0
    if block.mid:
        yield _conv(f"{name}.expand", channels, mid, size)  # its input is the shortcut
    yield _depthwise(f"{name}.depthwise", block, mid, size, shortcut)
    if block.se:
        alive = mid * small**2 + shortcut
        yield _free(f"{name}.se.pool", alive + mid)
        yield _conv(f"{name}.se.reduce", mid, block.se, held=alive, norm=False)
        yield _conv(f"{name}.se.expand", block.se, mid, held=alive, norm=False)
        yield _free(f"{name}.se.scale", alive + mid)
    yield _conv(f"{name}.project", mid, block.out, small, held=shortcut)
    if block.residual:
        yield _free(f"{name}.add", shortcut + block.out * small**2)


def _conv(
    name: str, cin: int, cout: int, size: int = 1, kernel: int = 1, stride: int = 1, held: int = 0, norm: bool = True
) -> Step:
    out = out_size(size, stride)
    weights = cin * cout * kernel**2
    sram = cin * size**2 + cout * out**2 + held
    params = weights + (2 if norm else 1) * cout  # scale and shift, or a bias
    buffers = 4 * kernel**2 * cin, 2 * weights if kernel > 1 else 0
    return Step(name, weights * out**2, params, weights + 8 * cout, sram, sram, *buffers)


def _depthwise(name: str, block: Block, channels: int, size: int, shortcut: int) -> Step:
    kernel, out = block.kernel, out_size(size, block.stride)
    before, after = channels * size**2, channels * out**2
    weights = channels * kernel**2
    held = shortcut if block.mid else 0  # without expansion the input itself is the shortcut
    inplace = max(before, after) + shortcut  # overwriting it would lose the shortcut, so there it is held
    memory = before + after + held, inplace, 2 * (size + 2 * (kernel // 2)) ** 2, 0
    return Step(name, weights * out**2, weights + 2 * channels, weights + 8 * channels, *memory)


def _free(name: str, sram: int) -> Step:
    return Step(name, 0, 0, 0, sram, sram, 0, 0)
