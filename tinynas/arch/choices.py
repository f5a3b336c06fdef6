"""The options of a search space's stem, blocks and stages, each from small to large. Those of heads: `heads.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

from ..utils.errors import InputError, require
from ..utils.schema import check_types, from_mapping
from .blocks import Block
from .genes import Chooser

T = TypeVar("T")

_block = lru_cache(maxsize=2**14)(Block)  # the archs of a space share a few thousand different blocks


@dataclass(frozen=True, kw_only=True)
class StemChoices:
    """Options of the stem.

    Attributes:
        width: Output channels, smallest first.
        kernel: Kernel size in pixels.
        stride: Stride in pixels.
        act: Activation.
    """

    width: tuple[int, ...]
    kernel: int = 3
    stride: int = 2
    act: str = "relu6"

    def __post_init__(self) -> None:
        check_ascending("stem width", self.width)

    def fixed_choices(self, kinds: Sequence[str]) -> "StemChoices":
        """Return the choices with those of these kinds fixed to their largest options."""
        return replace(self, width=largest_if("width" in kinds, self.width))


@dataclass(frozen=True, kw_only=True)
class BlockChoices:
    """Options of one block, each from small to large.

    Attributes:
        kernel: Kernel sizes of the depthwise convolution in pixels.
        expand: Expansion ratios, mid channels = input channels * ratio; empty for a depthwise-separable block.
        width: Output channels; empty for a residual block, which keeps its input's channels.
        se: Squeeze-excite reductions, squeezed channels = mid channels / reduction; 0 for no squeeze-excite.
        act: Activations.
        stride: Stride in pixels; 1 for a residual block.
    """

    kernel: tuple[int, ...]
    expand: tuple[float, ...] = ()
    width: tuple[int, ...] = ()
    se: tuple[float, ...] = (0,)
    act: tuple[str, ...] = ("relu6",)
    stride: int = 1

    def __post_init__(self) -> None:
        check_ascending("kernel", self.kernel)
        if self.expand:
            check_ascending("expand", self.expand)
        if self.width:
            check_ascending("width", self.width)
        squeezed = [1 / reduction if reduction else 0 for reduction in self.se]
        if squeezed != sorted(set(squeezed)):
            raise InputError(f"se goes from small to large: 0, then falling reductions, but is {list(self.se)}")
        if not self.act:
            raise InputError("a block needs at least one activation to choose from, but act is empty")
        if not self.width and self.stride != 1:
            raise InputError(f"a block without width is residual, with stride 1, but its stride is {self.stride}")

    def compose(self, name: str, channels: int, choose: Chooser, *, divisor: int, se_floor: int) -> Block:
        """Return the block of the chosen options for an input of `channels` channels.

        Expanded and squeezed channels are rounded to multiples of the divisor; the latter are at least `se_floor`.
        """
        out, mid = channels, 0
        if self.width:
            out = choose(f"{name}.out", self.width)
        if self.expand:
            mid = choose(f"{name}.mid", _expanded(self.expand, channels, divisor))
        squeezed = _squeezed(self.se, mid or channels, divisor, se_floor)
        return _block(
            out=out,
            kernel=choose(f"{name}.kernel", self.kernel),
            stride=self.stride,
            mid=mid,
            se=choose(f"{name}.se", squeezed),
            act=choose(f"{name}.act", self.act),
            residual=not self.width,
        )

    def fixed_choices(self, kinds: Sequence[str]) -> "BlockChoices":
        """Return the choices with those of these kinds fixed to their largest options."""
        return replace(
            self,
            kernel=largest_if("kernel" in kinds, self.kernel),
            expand=largest_if("expand" in kinds, self.expand),
            width=largest_if("width" in kinds, self.width),
        )


@dataclass(frozen=True, kw_only=True)
class StageChoices:
    """Options of one stage.

    Attributes:
        depth: Numbers of blocks that are used, counted from the first.
        blocks: The options of each block; as many as the largest depth.
    """

    depth: tuple[int, ...]
    blocks: tuple[BlockChoices, ...]

    def __post_init__(self) -> None:
        check_ascending("depth", self.depth)
        require(self.depth[-1] == len(self.blocks), "depth[-1] == len(blocks)", depth=self.depth)

    def fixed_choices(self, kinds: Sequence[str]) -> "StageChoices":
        """Return the choices with those of these kinds fixed to their largest options."""
        blocks = tuple(block.fixed_choices(kinds) for block in self.blocks)
        return StageChoices(depth=largest_if("depth" in kinds, self.depth), blocks=blocks)


def largest_if(fixed: bool, options: tuple[T, ...]) -> tuple[T, ...]:
    """Return only the largest option if the choice is fixed, else all options."""
    return options[-1:] if fixed else options


def check_ascending(name: str, options: Sequence[Any]) -> None:
    """Raise InputError unless the options are positive numbers in ascending order, and at least one."""
    previous = 0
    for option in options or [0]:
        if type(option) not in (int, float) or not option > previous:
            raise InputError(f"{name} options are positive and ascend, but got {list(options)}")
        previous = option


def stage_from_dict(plain: Mapping[str, Any], act: str, where: str) -> StageChoices:
    """Return a stage from its YAML form, in which all blocks share the options and the first has width and stride.

    `act` is the activation if the stage names none.

    Raises:
        InputError: A key is unknown or missing, or a value is impossible; the text begins with `where`.
    """
    values = with_options({"act": act, "depth": 1, **plain}, "depth", "width", "kernel", "expand", "se", "act")
    depth = values.pop("depth")
    check_types(StageChoices, {"depth": depth}, where)
    if "width" not in values:
        raise InputError(f"{where} lacks the key 'width'")
    first = from_mapping(BlockChoices, values, where)
    check_ascending(f"{where} depth", depth)
    residual = BlockChoices(kernel=first.kernel, expand=first.expand, se=first.se, act=first.act)
    return StageChoices(depth=depth, blocks=(first, *[residual] * (depth[-1] - 1)))


def with_options(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return the values, those of these names as tuples of options."""
    return {name: as_options(value) if name in names else value for name, value in values.items()}


def as_options(value: Any) -> tuple[Any, ...]:
    """Return the options that a list names, or the only option that another value is."""
    return tuple(value) if isinstance(value, list) else (value,)


@lru_cache(maxsize=2**12)
def _expanded(ratios: tuple[float, ...], channels: int, divisor: int) -> tuple[int, ...]:
    """Return the channels times each expansion ratio, rounded to multiples of the divisor."""
    return tuple(max(divisor, int(channels * ratio / divisor + 0.5) * divisor) for ratio in ratios)


@lru_cache(maxsize=2**12)
def _squeezed(reductions: tuple[float, ...], channels: int, divisor: int, floor: int) -> tuple[int, ...]:
    """Return the channels divided by each reduction, rounded to multiples of the divisor; 0 for a reduction of 0."""
    sizes = []
    for reduction in reductions:
        rounded = round(channels / reduction / divisor) * divisor if reduction else 0
        sizes.append(max(floor, rounded) if reduction else 0)
    return tuple(sizes)
