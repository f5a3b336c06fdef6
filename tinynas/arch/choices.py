"""The options of a search space's stem, blocks and stages, each from small to large. Those of heads: `heads.py`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from ..utils.errors import InputError, errors_in, require, unknown
from ..utils.schema import check_types
from ..utils.sizes import Size, check_size, read_size, with_lists
from .block_kinds import DEFAULT_KIND, block_kind, field_names
from .blocks import Block
from .genes import Chooser
from .options import Option, Options, Rounding, check_ascending, largest_if
from .own_code import errors_of_block


@dataclass(frozen=True, kw_only=True)
class StemChoices:
    """Options of the stem.

    Attributes:
        width: Output channels, smallest first.
        kernel: Kernel size in pixels, a number or a pair of height and width.
        stride: Stride in pixels, a number or a pair.
        act: Activation.
    """

    width: tuple[int, ...]
    kernel: Size = 3
    stride: Size = 2
    act: str = "relu6"

    def __post_init__(self) -> None:
        check_ascending("width", self.width)

    def fixed_choices(self, kinds: Sequence[str]) -> "StemChoices":
        """Return the choices with those of these kinds fixed to their largest options."""
        return replace(self, width=largest_if("width" in kinds, self.width))


@dataclass(frozen=True, kw_only=True)
class BlockChoices:
    """Options of one block.

    Attributes:
        kind: The kind of block.
        options: From small to large, for each of the kind's `options`. A field without any keeps its default; a block
            without options of its width keeps the channels of its input, and is residual if its kind knows that.
        strides: Options of the stride in pixels, from large to small; 1 alone for a block that keeps its channels.
    """

    kind: type[Block]
    options: tuple[Options, ...]
    strides: tuple[Size, ...] = (1,)

    def __post_init__(self) -> None:
        if not self.has_width and self.strides != (1,):
            stride = with_lists(self.strides[0])
            raise InputError(f"blocks without width keep the size of their input: stride must be 1, but is {stride}")
        if len(self.strides) > 1 and "stride" not in field_names(self.kind):
            raise InputError(f"blocks of kind {self.kind.kind} have no stride; remove strides")

    @cached_property
    def has_width(self) -> bool:
        """Whether the output's channels are chosen."""
        return any(option.field == "out" for option, _ in self._chosen)

    @cached_property
    def _chosen(self) -> list[tuple[Option, Options]]:
        """The options of the fields that are chosen."""
        return [(option, options) for option, options in self._items() if options]

    def compose(self, name: str, channels: int, choose: Chooser, *, rounding: Rounding) -> Block:
        """Return the block of the chosen options for an input of `channels` channels."""
        fields: dict[str, Any] = {"out": channels}
        for option, options in self._chosen:
            values = option.values(options, channels, fields, rounding)
            fields[option.field] = choose(f"{name}.{option.field}", values)
        stride = choose(f"{name}.stride", self.strides) if len(self.strides) > 1 else self.strides[0]
        return _block(self.kind, stride, not self.has_width, *fields.items())

    def fixed_choices(self, kinds: Sequence[str]) -> "BlockChoices":
        """Return the choices with those of these kinds fixed to their largest options."""
        options = [largest_if(option.key in kinds, values) for option, values in self._items()]
        return replace(self, options=tuple(options))

    def keeping_channels(self) -> "BlockChoices":
        """Return the choices of a block that keeps the channels and the size of its input."""
        options = [() if option.field == "out" else values for option, values in self._items()]
        return replace(self, options=tuple(options), strides=(1,))

    def _items(self) -> Iterator[tuple[Option, Options]]:
        return zip(self.kind.options, self.options, strict=True)


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


def stage_from_dict(plain: Mapping[str, Any], act: str, where: str) -> StageChoices:
    """Return a stage from its YAML form, in which all blocks share the options and the first has width and strides.

    `act` is the activation if the stage names none.

    Raises:
        InputError: A key is unknown or missing, or a value is impossible.
    """
    kind = block_kind(plain.get("kind", DEFAULT_KIND), where)
    options = {option.key: option for option in kind.options}
    values = {"act": act, **plain} if "act" in options else dict(plain)
    known = {"kind", "depth", "stride", "strides"} | options.keys()
    for key in values:
        if key not in known:
            raise unknown(f"key for {kind.kind} in {where}", key, sorted(known))
    depth, strides = as_options(values.get("depth", 1)), _strides_of(values, where)
    check_types(StageChoices, {"depth": depth}, where)
    check_ascending(f"depth in {where}", depth)
    chosen = []
    for option in kind.options:
        chosen.append(_options_of(option, values, where))
    with errors_in(where):
        first = BlockChoices(kind=kind, options=tuple(chosen), strides=strides)
    return StageChoices(depth=depth, blocks=(first, *[first.keeping_channels()] * (depth[-1] - 1)))


def _strides_of(values: Mapping[str, Any], where: str) -> tuple[Size, ...]:
    """Return the options of a stage's stride: `stride` is a single one, a number or a pair; `strides` are several."""
    if "strides" not in values:
        strides: tuple[Size, ...] = (read_size(values.get("stride", 1)),)
    elif "stride" in values:
        raise InputError(f"{where} has stride and strides; remove one of the two")
    else:
        strides = as_options(values["strides"])
    for stride in strides:
        check_size(f"stride in {where}", stride)
    try:
        check_ascending("strides", strides[::-1])
    except InputError:
        raise InputError(
            f"strides in {where} must fall, since a larger stride makes a smaller network, as in [2, 1], but are "
            f"{with_lists(strides)}"
        ) from None
    return strides


def _options_of(option: Option, values: Mapping[str, Any], where: str) -> Options:
    """Return the options of a field that a stage names, or the default ones."""
    if option.key in values:
        options = as_options(values[option.key])
        option.check(options, where)
        return options
    if option.default is None:
        raise InputError(f"{where} lacks the key {option.key!r}")
    return option.default


def with_options(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return the values, those of these names as tuples of options."""
    return {name: as_options(value) if name in names else value for name, value in values.items()}


def as_options(value: Any) -> tuple[Any, ...]:
    """Return the options that a list names, pairs of sizes among them, or the only option that another value is."""
    return tuple(map(read_size, value)) if isinstance(value, list) else (value,)


@lru_cache(maxsize=2**14)  # the archs of a space share a few thousand different blocks
def _block(kind: Any, stride: Size, keeps_channels: bool, *chosen: tuple[str, Any]) -> Block:
    """Return a block of the chosen fields and values."""
    fields = dict(chosen)
    known = field_names(kind)
    if "stride" in known:
        fields["stride"] = stride
    if "residual" in known:
        fields["residual"] = keeps_channels
    with errors_of_block(kind, "__post_init__"):
        block: Block = kind(**fields)
    return block
