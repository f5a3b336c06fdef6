"""How a search space chooses the fields of a block: from options in YAML to the field's values.

A block declares an `Option` for each field that can be chosen, in the order in which they are decided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

from ..utils.errors import InputError
from ..utils.schema import check_value
from ..utils.sizes import check_size, pair, with_lists

Options = tuple[Any, ...]  # from small to large


class Rounding(NamedTuple):
    """How a search space rounds channels."""

    divisor: int  # to multiples of it
    se_floor: int  # least channels of a squeeze layer


class Factors(NamedTuple):
    """NetAug's factors, ascending from 1."""

    width: Sequence[float]
    expand: Sequence[float]


@dataclass(frozen=True)
class Option:
    """A number that the space names as it is, such as a number of heads.

    Attributes:
        field: The block's field; genes are called after it.
        key: The key in a space's YAML file.
        default: Options where the key is left out. None: it must be there; (): the field keeps its default.
    """

    kind: ClassVar[type] = int

    field: str
    key: str
    default: Options | None = None

    def check(self, options: Options, where: str) -> None:
        """Check the options that a space names.

        Raises:
            InputError: One has another type, or they do not ascend.
        """
        for option in options:
            check_value(option, self.kind, f"{self.key} in {where}")
        if options != self.default:
            check_ascending(f"{self.key} in {where}", options)

    def values(self, options: Options, channels: int, decided: Mapping[str, Any], rounding: Rounding) -> Options:
        """Return the values of the field, one for each option.

        Args:
            options: The options.
            channels: Channels of the block's input.
            decided: The block's fields that were decided before.
            rounding: How the space rounds channels.
        """
        return options

    def augmented(self, fields: Mapping[str, Any], channels: int, factors: Factors) -> Options:
        """Return the options of a NetAug space around a block, the smallest of which is the block.

        Args:
            fields: The block's fields.
            channels: Channels of its input.
            factors: NetAug's factors.
        """
        return (fields[self.field],)


class SizeOption(Option):
    """A size in pixels, a number or a pair of height and width."""

    def check(self, options: Options, where: str) -> None:
        """Raise InputError unless all are sizes, and ascend."""
        for option in options:
            check_size(f"{self.key} in {where}", option)
        try:
            check_ascending(f"{self.key} in {where}", options)
        except InputError as error:
            raise InputError(f"{error}; a pair of height and width is a list in the list") from None


class NamedOption(Option):
    """A name, such as that of an activation, in any order."""

    kind = str

    def check(self, options: Options, where: str) -> None:
        """Raise InputError unless there is an option, and all are texts."""
        for option in options:
            check_value(option, str, f"{self.key} in {where}")
        if not options:
            raise InputError(f"{self.key} in {where} must be one or more names, but is []")


class WidthOption(Option):
    """Channels of the output; left out for a block that keeps those of its input."""

    def augmented(self, fields: Mapping[str, Any], channels: int, factors: Factors) -> Options:
        """Return the channels times NetAug's factors of width."""
        return multiplied(fields[self.field], factors.width)


class RatioOption(Option):
    """Channels inside the block as multiples of those of its input."""

    kind = float

    def values(self, options: Options, channels: int, decided: Mapping[str, Any], rounding: Rounding) -> Options:
        """Return the channels, rounded to multiples of the space's divisor."""
        return _expanded(options, channels, rounding.divisor)

    def augmented(self, fields: Mapping[str, Any], channels: int, factors: Factors) -> Options:
        """Return the ratio times NetAug's factors of expansion; none for a block without these channels."""
        inner = fields[self.field]
        return tuple(inner / channels * factor for factor in factors.expand) if inner else ()


@dataclass(frozen=True)
class ReductionOption(Option):
    """Channels of a squeeze layer, as divisors of the channels that it reads; 0 for no such layer.

    Attributes:
        of: The field with the channels that it reads; where it is 0, those of the block's input.
    """

    kind = float

    of: str = ""

    def check(self, options: Options, where: str) -> None:
        """Raise InputError unless the options are 0, then falling reductions."""
        for option in options:
            check_value(option, float, f"{self.key} in {where}")
        squeezed = [1 / reduction if reduction else 0 for reduction in options]
        if squeezed != sorted(set(squeezed)) or min(squeezed, default=0) < 0:
            raise InputError(
                f"{self.key} in {where} must be 0, which is no such layer, then divisors of its channels that fall, as "
                f"in [0, 8, 4], but is {list(options)}"
            )

    def values(self, options: Options, channels: int, decided: Mapping[str, Any], rounding: Rounding) -> Options:
        """Return the channels, rounded to multiples of the space's divisor and at least its floor."""
        read = decided.get(self.of) or channels
        return _squeezed(options, read, rounding.divisor, rounding.se_floor)

    def augmented(self, fields: Mapping[str, Any], channels: int, factors: Factors) -> Options:
        """Return the block's own reduction, so that the layer grows with what it reads."""
        squeeze = fields[self.field]
        return ((fields[self.of] or channels) / squeeze,) if squeeze else (0,)


def check_ascending(name: str, options: Sequence[Any]) -> None:
    """Raise InputError unless the options are positive numbers or pairs in ascending order, and at least one."""
    previous = 0
    for option in options or [0]:
        if not _is_larger(option, previous):
            raise InputError(f"{name} must be positive and ascend, but is {with_lists(options)}")
        previous = option


def _is_larger(option: Any, previous: Any) -> bool:
    """Return whether an option is a number, or a pair of them, and larger in a direction and smaller in none."""
    sides, others = pair(option), pair(previous)
    if not all(type(side) in (int, float) for side in sides):
        return False
    grows = all(side >= other for side, other in zip(sides, others, strict=True))
    return grows and option != previous and min(sides) > 0


def largest_if(fixed: bool, options: Options) -> Options:
    """Return only the largest option if the choice is fixed, else all options."""
    return options[-1:] if fixed else options


def multiplied(channels: int, factors: Sequence[float]) -> tuple[int, ...]:
    """Return the channels times each factor, rounded, without duplicates, smallest first."""
    return tuple(sorted({int(channels * factor + 0.5) for factor in factors}))


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
