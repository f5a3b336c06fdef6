"""The heads of architectures, and their options in search spaces: what classifiers and detectors do differently.

All kinds of heads have one interface (`task`, `is_spatial`, `has_conv`, `taps`, `as_detector`, `widened`), and so have
their choices (`task`, `compose`, `fixed_choices`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..utils.errors import InputError, require
from ..utils.schema import check_mapping, from_mapping
from .checks import check_activation, is_count
from .detector_head import DetectorChoices, DetectorHead, head_of_classifier
from .genes import Chooser
from .options import check_ascending, largest_if, multiplied


@dataclass(frozen=True, kw_only=True)
class Head:
    """A classifier's head: 1x1 convolution, global average pooling, hidden linear layer, linear classifier.

    Attributes:
        conv: Output channels of the convolution, which has batch norm; 0 for no convolution.
        hidden: Features of the hidden layer, which has a bias; 0 for no hidden layer.
        act: Activation; "relu", "relu6" or "hswish".
    """

    task: ClassVar[str] = "classify"
    is_spatial: ClassVar[bool] = False  # whether the outputs belong to places in the image

    conv: int = 0
    hidden: int = 0
    act: str = "relu6"

    def __post_init__(self) -> None:
        require(is_count(self.conv), "head.conv >= 0", conv=self.conv)
        require(is_count(self.hidden), "head.hidden >= 0", hidden=self.hidden)
        check_activation(self.act)

    @property
    def num_maps(self) -> int:
        """Number of feature maps that the head reads."""
        return 1

    @property
    def has_conv(self) -> bool:
        """Whether a convolution follows the last stage."""
        return self.conv > 0

    def taps(self, strides: Sequence[int]) -> tuple[int, ...]:
        """Return the index of the stage that the head reads, the last, for the stages' strides against the image."""
        return (len(strides) - 1,)

    def as_detector(self, strides: Sequence[int], channels: Sequence[int]) -> DetectorHead:
        """Return the head that makes a detector of a backbone whose stages have these strides and output channels."""
        return head_of_classifier(strides, channels, self.act)

    def widened(self, factors: Sequence[float]) -> "HeadChoices":
        """Return the choices of this head with its channels multiplied by each of the factors."""
        return HeadChoices(conv=multiplied(self.conv, factors), hidden=multiplied(self.hidden, factors), act=self.act)


@dataclass(frozen=True, kw_only=True)
class HeadChoices:
    """Options of a classifier's head, see `Head`.

    Attributes:
        conv: Channels of the convolution, smallest first; (0,) for no convolution.
        hidden: Features of the hidden layer, smallest first; (0,) for no hidden layer.
        act: Activation.
    """

    task: ClassVar[str] = Head.task

    conv: tuple[int, ...] = (0,)
    hidden: tuple[int, ...] = (0,)
    act: str = "relu6"

    def __post_init__(self) -> None:
        if self.conv != (0,):
            check_ascending("conv", self.conv)
        if self.hidden != (0,):
            check_ascending("hidden", self.hidden)

    def compose(self, choose: Chooser) -> Head:
        """Return the head of the chosen options."""
        conv = choose("head.conv", self.conv)
        return Head(conv=conv, hidden=choose("head.hidden", self.hidden), act=self.act)

    def fixed_choices(self, kinds: Sequence[str]) -> "HeadChoices":
        """Return the choices with those of these kinds fixed to their largest options."""
        fixed = "width" in kinds
        return replace(self, conv=largest_if(fixed, self.conv), hidden=largest_if(fixed, self.hidden))


AnyHead = Head | DetectorHead
AnyHeadChoices = HeadChoices | DetectorChoices


def head_from_dict(plain: object) -> AnyHead:
    """Return the head that a mapping describes. Raises InputError on unknown keys and impossible values."""
    values = _with_tuples(plain)
    kind: type[AnyHead] = DetectorHead if "width" in values else Head
    return from_mapping(kind, values, "head")


def head_choices_from_dict(plain: object) -> AnyHeadChoices:
    """Return the choices that a mapping describes. Raises InputError on unknown keys and impossible values."""
    values = _with_tuples(plain)
    kind: type[AnyHeadChoices] = DetectorChoices if "width" in values else HeadChoices
    return from_mapping(kind, values, "head")


def detector_head(head: AnyHead) -> DetectorHead:
    """Return the head, which must be a detector's, typed as one. Raises InputError for another."""
    if not isinstance(head, DetectorHead):
        raise InputError(f"expected a detector, but the network's task is {head.task!r}; use a network that detects")
    return head


def _with_tuples(plain: object) -> dict[str, Any]:
    values = dict(check_mapping(plain, "head"))
    if "anchors" in values:
        raise InputError("the head has anchors, as detectors of earlier versions of tinynas; search and train again")
    for key, value in values.items():
        if isinstance(value, list):
            values[key] = tuple(value)
    return values
