"""The heads of architectures, and their options in search spaces: what classifiers and detectors do differently.

Both kinds of heads have one interface (`task`, `is_spatial`, `has_conv`, `taps`, `with_anchors`, `as_detector`,
`widened`, `layer_costs`), and so have their choices (`task`, `with_anchors`, `compose`, `fixed_choices`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..utils.errors import InputError, require
from ..utils.schema import check_mapping, from_mapping
from .checks import check_activation, check_conv, is_count
from .genes import Chooser
from .layer_cost import FeatureMap, LayerCost, conv_cost, depthwise_cost, linear_cost, weightless_cost
from .options import check_ascending, largest_if, multiplied

FINE_STRIDE, COARSE_STRIDE = 16, 32  # of the feature maps that detectors read
DEFAULT_ANCHORS = (0.12, 0.12, 0.2, 0.2, 0.3, 0.3, 0.45, 0.45, 0.6, 0.6, 0.85, 0.85)  # before any are fitted to data

FitAnchors = Callable[[int], tuple[float, ...]]  # number of anchors -> width, height, width, height, ... in 0..1


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
    def has_conv(self) -> bool:
        """Whether a convolution follows the last stage."""
        return self.conv > 0

    def taps(self, strides: Sequence[int]) -> tuple[int, ...]:
        """Return the index of the stage that the head reads, the last, for the stages' strides against the image."""
        return (len(strides) - 1,)

    def with_anchors(self, fit: FitAnchors) -> "Head":
        """Return the head itself: a classifier has no anchors."""
        return self

    def as_detector(self, width: int) -> "DetectorHead":
        """Return a detector's head with `width` channels and this head's activation."""
        return DetectorHead(width=width, act=self.act)

    def widened(self, factors: Sequence[float]) -> "HeadChoices":
        """Return the choices of this head with its channels multiplied by each of the factors."""
        return HeadChoices(conv=multiplied(self.conv, factors), hidden=multiplied(self.hidden, factors), act=self.act)

    def layer_costs(self, maps: Sequence[FeatureMap], classes: int) -> Iterator[LayerCost]:
        """Yield the costs of the head's layers for the last stage's feature map."""
        source = maps[-1]
        if self.conv:
            yield conv_cost("head.conv", source, self.conv)
            source = source.after(self.conv, 1)
        channels = source.channels
        yield weightless_cost("head.pool", source.num_bytes + channels)
        if self.hidden:
            yield linear_cost("head.hidden", in_features=channels, out_features=self.hidden)
            channels = self.hidden
        yield linear_cost("head.classifier", in_features=channels, out_features=classes)


@dataclass(frozen=True, kw_only=True)
class DetectorHead:
    """A detector's head: boxes at two scales (YOLOv3, Redmon and Farhadi, 2018, section 2.3).

    1x1 convolutions bring the feature maps of strides 16 (fine) and 32 (coarse) to `width` channels; the coarse map,
    upsampled, is added to the fine one; then each map passes a depthwise and a 1x1 convolution, and a last one predicts
    for each anchor a box, an objectness and the classes.

    Attributes:
        width: Channels.
        kernel: Kernel size of the depthwise convolutions in pixels; odd.
        act: Activation; "relu", "relu6" or "hswish".
        anchors: Width, height, width, height, ... as fractions of the image; the first half belongs to the fine map.
    """

    task: ClassVar[str] = "detect"
    is_spatial: ClassVar[bool] = True
    has_conv: ClassVar[bool] = True

    width: int
    kernel: int = 3
    act: str = "relu6"
    anchors: tuple[float, ...] = DEFAULT_ANCHORS

    def __post_init__(self) -> None:
        check_conv(self.kernel, 1, self.act)
        require(is_count(self.width) and self.width > 0, "head.width > 0", width=self.width)
        if not self.anchors or len(self.anchors) % 4 or min(self.anchors) <= 0:
            raise InputError(
                "anchors must be positive widths and heights, as many for stride 16 as for stride 32, "
                f"but are {list(self.anchors)}"
            )

    @property
    def per_cell(self) -> int:
        """Anchors at each cell of a feature map."""
        return len(self.anchors) // 4

    def taps(self, strides: Sequence[int]) -> tuple[int, ...]:
        """Return the indices of the stages that the head reads, for the stages' strides against the image.

        Raises:
            InputError: The strides lack 16, or the last one is not 32.
        """
        return detector_taps(strides)

    def with_anchors(self, fit: FitAnchors) -> "DetectorHead":
        """Return the head with fitted anchors in place of the default ones; other anchors are kept."""
        return replace(self, anchors=_fitted_anchors(self.anchors, fit))

    def as_detector(self, width: int) -> "DetectorHead":
        """Return the head itself."""
        return self

    def widened(self, factors: Sequence[float]) -> "DetectorChoices":
        """Return the choices of this head with its channels multiplied by each of the factors."""
        width = multiplied(self.width, factors)
        return DetectorChoices(width=width, kernel=(self.kernel,), act=self.act, anchors=self.anchors)

    def layer_costs(self, maps: Sequence[FeatureMap], classes: int) -> Iterator[LayerCost]:
        """Yield the costs of the head's layers for the fine and the coarse feature map.

        The coarse map's predictions are computed first, and kept in memory while the fine map's are.
        """
        fine, coarse = maps[0].after(self.width, 1), maps[1].after(self.width, 1)
        upsampled = FeatureMap(self.width, 2 * coarse.height, 2 * coarse.width)
        outputs = self.per_cell * (5 + classes)  # channels
        yield self._lateral_cost(1, maps[1], held=maps[0].num_bytes)
        yield self._lateral_cost(0, maps[0], held=coarse.num_bytes)
        yield weightless_cost("head.double", coarse.num_bytes + fine.num_bytes + upsampled.num_bytes)
        if upsampled != fine:
            yield weightless_cost("head.crop", coarse.num_bytes + 2 * fine.num_bytes + upsampled.num_bytes)
        yield weightless_cost("head.merge", coarse.num_bytes + 2 * fine.num_bytes)
        yield from self._level_costs(1, coarse, outputs, held=fine.num_bytes)
        yield from self._level_costs(0, fine, outputs, held=outputs * coarse.pixels)
        yield weightless_cost("head.outputs", outputs * (fine.pixels + coarse.pixels))

    def _lateral_cost(self, level: int, tapped: FeatureMap, held: int) -> LayerCost:
        return conv_cost(f"head.lateral.{level}", tapped, self.width, held=held)

    def _level_costs(self, level: int, source: FeatureMap, outputs: int, held: int) -> Iterator[LayerCost]:
        yield depthwise_cost(f"head.depthwise.{level}", source, self.kernel).holding(held)
        yield conv_cost(f"head.pointwise.{level}", source, self.width, held=held)
        yield conv_cost(f"head.classifier.{level}", source, outputs, norm=False, held=held)


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

    def with_anchors(self, fit: FitAnchors) -> "HeadChoices":
        """Return the choices themselves: a classifier has no anchors."""
        return self

    def compose(self, choose: Chooser) -> Head:
        """Return the head of the chosen options."""
        conv = choose("head.conv", self.conv)
        return Head(conv=conv, hidden=choose("head.hidden", self.hidden), act=self.act)

    def fixed_choices(self, kinds: Sequence[str]) -> "HeadChoices":
        """Return the choices with those of these kinds fixed to their largest options."""
        fixed = "width" in kinds
        return replace(self, conv=largest_if(fixed, self.conv), hidden=largest_if(fixed, self.hidden))


@dataclass(frozen=True, kw_only=True)
class DetectorChoices:
    """Options of a detector's head, see `DetectorHead`.

    Attributes:
        width: Channels, smallest first.
        kernel: Kernel sizes of the depthwise convolutions in pixels, smallest first.
        act: Activation.
        anchors: Width, height, width, height, ... as fractions of the image.
    """

    task: ClassVar[str] = DetectorHead.task

    width: tuple[int, ...]
    kernel: tuple[int, ...] = (3,)
    act: str = "relu6"
    anchors: tuple[float, ...] = DEFAULT_ANCHORS

    def __post_init__(self) -> None:
        check_ascending("width", self.width)
        check_ascending("kernel", self.kernel)

    def with_anchors(self, fit: FitAnchors) -> "DetectorChoices":
        """Return the choices with fitted anchors in place of the default ones; other anchors are kept."""
        return replace(self, anchors=_fitted_anchors(self.anchors, fit))

    def compose(self, choose: Chooser) -> DetectorHead:
        """Return the head of the chosen options."""
        width = choose("head.width", self.width)
        return DetectorHead(width=width, kernel=choose("head.kernel", self.kernel), act=self.act, anchors=self.anchors)

    def fixed_choices(self, kinds: Sequence[str]) -> "DetectorChoices":
        """Return the choices with those of these kinds fixed to their largest options."""
        width, kernel = largest_if("width" in kinds, self.width), largest_if("kernel" in kinds, self.kernel)
        return replace(self, width=width, kernel=kernel)


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


def detector_taps(strides: Sequence[int]) -> tuple[int, int]:
    """Return the indices of the last stage of stride 16 and of the last stage, which must have stride 32.

    Raises:
        InputError: The strides lack 16, or the last one is not 32.
    """
    if FINE_STRIDE not in strides or strides[-1] != COARSE_STRIDE:
        raise InputError(
            f"a detector needs a stage of stride 16 and a last stage of stride 32, but the strides are {list(strides)}"
        )
    fine = max(stage for stage, stride in enumerate(strides) if stride == FINE_STRIDE)
    return fine, len(strides) - 1


def detector_head(head: AnyHead) -> DetectorHead:
    """Return the head, which must be a detector's, typed as one. Raises InputError for another."""
    if not isinstance(head, DetectorHead):
        raise InputError(f"expected a detector, but the network's task is {head.task!r}; use a network that detects")
    return head


def _fitted_anchors(anchors: tuple[float, ...], fit: FitAnchors) -> tuple[float, ...]:
    return fit(len(anchors) // 2) if anchors == DEFAULT_ANCHORS else anchors


def _with_tuples(plain: object) -> dict[str, Any]:
    values = dict(check_mapping(plain, "head"))
    for key, value in values.items():
        if isinstance(value, list):
            values[key] = tuple(value)
    return values
