"""What a network with early exits does at some thresholds, as result files have it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from ..utils.schema import check_list, check_mapping
from ..utils.units import threshold_text
from .result_file import read_fields, read_numbers

P = TypeVar("P", bound="ThresholdPoint")


@dataclass(frozen=True, kw_only=True)
class ThresholdPoint:
    """What a network with early exits does at some thresholds.

    Attributes:
        thresholds: Score from which an image exits: one for each early exit, or a single one for all of them.
        accuracy: In percent.
        macs: Average MACs of an image.
    """

    thresholds: tuple[float, ...]
    accuracy: float
    macs: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {**asdict(self), "thresholds": list(self.thresholds)}

    @property
    def text(self) -> str:
        """The thresholds in words, as titles show them."""
        return f"threshold{'s' if len(self.thresholds) > 1 else ''} {threshold_text(self.thresholds)}"


@dataclass(frozen=True, kw_only=True)
class AllowedLoss(ThresholdPoint):
    """The cheapest thresholds that lose no more accuracy on search-val than is allowed, measured on the test split.

    Attributes:
        allowed: Percentage points of accuracy.
        saved: Fraction of the network's MACs that it saves.
    """

    allowed: float
    saved: float

    def to_dict(self) -> dict[str, Any]:
        """Return an entry of `losses` in sidenet.json."""
        return {"allowed": self.allowed, **super().to_dict()}


def read_points(cls: type[P], plain: object, where: str) -> tuple[P, ...]:
    """Return the operating points in a list of mappings.

    Raises:
        InputError: It is no list of mappings, a key is missing, or a value is of the wrong type.
    """
    return tuple(read_point(cls, check_mapping(entry, where), where) for entry in check_list(plain, where))


def read_point(cls: type[P], values: Mapping[str, Any], where: str) -> P:
    """Return the operating point among the keys of a mapping; earlier versions wrote a single `threshold`.

    Raises:
        InputError: A key is missing, or a value is of the wrong type.
    """
    plain = values["thresholds"] if "thresholds" in values else [values.get("threshold")]
    return read_fields(cls, values, where, thresholds=read_numbers(plain, f"thresholds in {where}"))
