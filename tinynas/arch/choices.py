"""The options that a search space is made of, each from small to large."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ..utils.errors import require
from .arch import DetectorHead, FitAnchors, Head


@dataclass(frozen=True, kw_only=True)
class StemChoices:
    """Options of the stem: output channels, smallest first."""

    width: tuple[int, ...]
    kernel: int = 3
    stride: int = 2
    act: str = "relu6"

    def __post_init__(self) -> None:
        check_ascending("stem width", self.width)


@dataclass(frozen=True, kw_only=True)
class BlockChoices:
    """Options of one block, each from small to large.

    `expand` gives mid = in * expand; without it the block is depthwise-separable. `se` is the squeeze-excite
    reduction: the squeeze layer has mid / se channels, 0 is no squeeze-excite. A block without `width` is residual:
    it keeps the channels it is given.
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
        sizes = tuple(1 / reduction if reduction else 0 for reduction in self.se)
        require(
            sizes == tuple(sorted(set(sizes))), "se goes from small to large: 0, then falling reductions", se=self.se
        )
        require(len(self.act) > 0, "act has an option", act=self.act)
        require(self.stride == 1 or bool(self.width), "a residual block has stride 1", stride=self.stride)


@dataclass(frozen=True, kw_only=True)
class StageChoices:
    """Options of one stage: how many of its blocks are used, counted from the first, and the blocks' own options."""

    depth: tuple[int, ...]
    blocks: tuple[BlockChoices, ...]

    def __post_init__(self) -> None:
        check_ascending("depth", self.depth)
        require(self.depth[-1] == len(self.blocks), "largest depth is the number of blocks", depth=self.depth)


@dataclass(frozen=True, kw_only=True)
class HeadChoices:
    """Options of the head, see `Head`; 0 leaves the layer out."""

    conv: tuple[int, ...] = (0,)
    hidden: tuple[int, ...] = (0,)
    act: str = "relu6"

    def __post_init__(self) -> None:
        for name, sizes in (("head conv", self.conv), ("head hidden", self.hidden)):
            if sizes != (0,):
                check_ascending(name, sizes)

    def with_anchors(self, fit: FitAnchors) -> "HeadChoices":
        """As a head's."""
        return self

    def compose(self, pick: "Pick") -> Head:
        """The head of these choices."""
        return Head(conv=pick("head.conv", self.conv), hidden=pick("head.hidden", self.hidden), act=self.act)

    def fixed_choices(self, *choices: str) -> "HeadChoices":
        """As a space's."""
        return replace(self, conv=self.conv[-1:], hidden=self.hidden[-1:]) if "width" in choices else self


@dataclass(frozen=True, kw_only=True)
class DetectorChoices:
    """Options of a detector's head, see `DetectorHead`."""

    width: tuple[int, ...]
    kernel: tuple[int, ...] = (3,)
    act: str = "relu6"
    anchors: tuple[float, ...] = DetectorHead.anchors

    def __post_init__(self) -> None:
        check_ascending("head width", self.width)
        check_ascending("head kernel", self.kernel)

    def with_anchors(self, fit: FitAnchors) -> "DetectorChoices":
        """As a head's."""
        if self.anchors != DetectorHead.anchors:
            return self
        return replace(self, anchors=fit(len(self.anchors) // 2))

    def compose(self, pick: "Pick") -> DetectorHead:
        """The head of these choices."""
        width, kernel = pick("head.width", self.width), pick("head.kernel", self.kernel)
        return DetectorHead(width=width, kernel=kernel, act=self.act, anchors=self.anchors)

    def fixed_choices(self, *choices: str) -> "DetectorChoices":
        """As a space's."""
        kinds = {"width", "kernel"} & set(choices)
        return replace(self, **{kind: getattr(self, kind)[-1:] for kind in kinds})


class Pick(Protocol):
    """How a gene is decided: one of the options, resolved to the value of the arch's field."""

    def __call__(self, name: str, options: Sequence[Any], resolve: Callable[[Any], Any] = ...) -> Any: ...


def check_ascending(name: str, options: tuple[Any, ...]) -> None:
    """Raise InputError unless there are options, positive, the smallest first."""
    numbers = len(options) > 0 and all(type(o) in (int, float) and o > 0 for o in options)
    require(
        numbers and list(options) == sorted(set(options)), f"{name} options are positive and ascend", options=options
    )
