"""An architecture as frozen, plain data: every size is a resolved integer, rounding already done.

An `Arch` is an image classifier or an object detector: a stem convolution, stages of blocks, and a head. Two archs are
the same network exactly if they are equal; they can be hashed, compared, and written to YAML and read back.
A size of 0 means that the part is absent.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from math import prod
from operator import mul
from typing import Any, TypeVar

import yaml

from ..utils.errors import require, unknown
from ..utils.schema import check_keys, check_list, check_mapping, from_mapping

T = TypeVar("T")
ACTIVATIONS = ("relu", "relu6", "hswish")
_ANCHORS = (0.12, 0.12, 0.2, 0.2, 0.3, 0.3, 0.45, 0.45, 0.6, 0.6, 0.85, 0.85)  # until a data set's own are known


FitAnchors = Callable[[int], tuple[float, ...]]  # number of anchors -> width, height, width, height, ... in 0..1


@dataclass(frozen=True, kw_only=True)
class Stem:
    """The first convolution, with batch norm."""

    out: int  # channels
    kernel: int = 3
    stride: int = 2
    act: str = "relu6"

    def __post_init__(self) -> None:
        _check_conv(self.kernel, self.stride, self.act)
        require(_is_count(self.out) and self.out > 0, "stem out > 0", out=self.out)


@dataclass(frozen=True, kw_only=True)
class Block:
    """Depthwise-separable or inverted-residual block (MobileNetV2, Sandler et al., 2018, section 3.3).

    1x1 expansion to `mid` channels (absent if 0: the depthwise convolution then runs on the block's input),
    depthwise kernel x kernel, squeeze-excite through `se` channels (absent if 0), linear 1x1 projection to `out`.
    """

    out: int  # channels
    kernel: int
    stride: int = 1
    mid: int = 0  # channels
    se: int = 0  # channels of the squeeze layer
    act: str = "relu6"
    residual: bool = False  # identity shortcut from input to output

    def __post_init__(self) -> None:
        _check_conv(self.kernel, self.stride, self.act)
        require(_is_count(self.out) and self.out > 0, "block out > 0", out=self.out)
        require(_is_count(self.mid), "block mid >= 0", mid=self.mid)
        require(_is_count(self.se), "block se >= 0", se=self.se)
        require(isinstance(self.residual, bool), "residual is true or false", residual=self.residual)


@dataclass(frozen=True, kw_only=True)
class Head:
    """1x1 convolution to `conv` channels, global average pooling, linear layer to `hidden` features, classifier."""

    conv: int = 0  # channels, with batch norm
    hidden: int = 0  # features, with bias
    act: str = "relu6"

    def __post_init__(self) -> None:
        require(_is_count(self.conv), "head conv >= 0", conv=self.conv)
        require(_is_count(self.hidden), "head hidden >= 0", hidden=self.hidden)
        _check_act(self.act)

    def with_anchors(self, fit: FitAnchors) -> "Head":
        """A classifier has no anchors: the head itself."""
        return self


@dataclass(frozen=True, kw_only=True)
class DetectorHead:
    """Boxes at two scales, from the feature maps of strides 16 and 32 (YOLOv3, Redmon and Farhadi, 2018, section 2.3).

    1x1 convolutions bring both maps to `width` channels; the coarse one, enlarged, is added to the fine one; each then
    runs a depthwise and a 1x1 convolution and, for each of its anchors, predicts a box, an objectness and the classes.
    """

    width: int  # channels
    kernel: int = 3
    act: str = "relu6"
    anchors: tuple[float, ...] = _ANCHORS  # width, height, width, height, ..., of the image; the first half stride 16's

    def __post_init__(self) -> None:
        _check_conv(self.kernel, 1, self.act)
        require(_is_count(self.width) and self.width > 0, "detector head width > 0", width=self.width)
        rule = "anchors are positive widths and heights, of both strides as many"
        holds = len(self.anchors) > 0 and len(self.anchors) % 4 == 0 and all(side > 0 for side in self.anchors)
        require(holds, rule, anchors=self.anchors)

    @property
    def per_cell(self) -> int:
        """Anchors at each place of a feature map."""
        return len(self.anchors) // 4

    def with_anchors(self, fit: FitAnchors) -> "DetectorHead":
        """The head with fitted anchors in place of the default ones; anchors that were set stay."""
        if self.anchors != _ANCHORS:
            return self
        return replace(self, anchors=fit(len(self.anchors) // 2))


HEADS: dict[str, type[Head] | type[DetectorHead]] = {"classify": Head, "detect": DetectorHead}


@dataclass(frozen=True, kw_only=True)
class Arch:
    """A classifier or detector for square images of `resolution` pixels with `in_channels` channels."""

    resolution: int
    in_channels: int = 3
    classes: int = 1000
    stem: Stem
    stages: tuple[tuple[Block, ...], ...]
    head: Head | DetectorHead = field(default_factory=Head)

    def __post_init__(self) -> None:
        for name in ("resolution", "in_channels", "classes"):
            value = getattr(self, name)
            require(_is_count(value) and value > 0, f"{name} > 0", **{name: value})
        require(len(self.stages) > 0 and all(self.stages), "every stage has a block", stages=self.stages)
        channels = self.stem.out
        for block in (block for stage in self.stages for block in stage):
            if block.residual:
                rule = "a residual block has stride 1 and keeps its channels"
                require(block.stride == 1 and block.out == channels, rule, channels=channels, block=block)
            channels = block.out
        if isinstance(self.head, DetectorHead):
            strides = self.strides()
            require(16 in strides and strides[-1] == 32, "a detector has stages of stride 16 and 32", strides=strides)

    @property
    def task(self) -> str:
        """ "classify" or "detect"."""
        return next(task for task, kind in HEADS.items() if isinstance(self.head, kind))

    @property
    def detector(self) -> DetectorHead:
        """The head of a detector."""
        assert isinstance(self.head, DetectorHead)
        return self.head

    def fitted_to(self, *, in_channels: int, classes: int, fit_anchors: FitAnchors) -> "Arch":
        """The arch with a data set's input channels and classes and, for a detector, anchors."""
        return replace(self, in_channels=in_channels, classes=classes, head=self.head.with_anchors(fit_anchors))

    def strides(self) -> list[int]:
        """Pixels of the image, along a side, to one of each stage's feature map."""
        steps = [self.stem.stride, *(prod(block.stride for block in stage) for stage in self.stages)]
        return list(accumulate(steps, mul))[1:]

    def taps(self) -> tuple[int, ...]:
        """The stages whose feature maps the head reads."""
        if isinstance(self.head, Head):
            return (len(self.stages) - 1,)
        strides = self.strides()
        return max(s for s, stride in enumerate(strides) if stride == 16), len(strides) - 1

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers; `Arch.from_dict` gives the arch back."""
        plain = asdict(self)
        plain["stages"] = [list(stage) for stage in plain["stages"]]
        if isinstance(self.head, DetectorHead):
            plain["head"]["anchors"] = list(self.head.anchors)
        return plain

    @classmethod
    def from_dict(cls, plain: object) -> "Arch":
        """The arch that `to_dict` wrote. Raises InputError on unknown or missing keys and impossible values."""
        values = dict(check_mapping(plain, "an arch"))
        check_keys(cls, values, "an arch")
        stages = check_list(values["stages"], "stages")
        values["stages"] = tuple(
            tuple(from_mapping(Block, block, f"a block of stage {s}") for block in check_list(stage, f"stage {s}"))
            for s, stage in enumerate(stages)
        )
        values["stem"] = from_mapping(Stem, values["stem"], "stem")
        values["head"] = read_head(HEADS, values.get("head", {}))
        return cls(**values)

    def to_yaml(self) -> str:
        """One line for the stem, each block and the head."""
        plain = self.to_dict()
        lines = [f"{name}: {plain[name]}" for name in ("resolution", "in_channels", "classes")]
        lines.append(f"stem: {_flow(plain['stem'])}")
        lines.append("stages:")
        for stage in plain["stages"]:
            lines += [f"{'- ' if b == 0 else '  '}- {_flow(block)}" for b, block in enumerate(stage)]
        lines.append(f"head: {_flow(plain['head'])}")
        return "\n".join(lines) + "\n"


def read_head(kinds: Mapping[str, type[T]], plain: object) -> T:
    """A head, or choices of one: a detector's if it has a width. Raises InputError."""
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in check_mapping(plain, "head").items()}
    return from_mapping(kinds["detect" if "width" in values else "classify"], values, "head")


def _check_conv(kernel: int, stride: int, act: str) -> None:
    require(_is_count(kernel) and kernel % 2 == 1, "kernel is odd", kernel=kernel)
    require(_is_count(stride) and stride > 0, "stride > 0", stride=stride)
    _check_act(act)


def _check_act(act: str) -> None:
    if act not in ACTIVATIONS:
        raise unknown("activation", act, ACTIVATIONS)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _flow(plain: dict[str, Any]) -> str:
    return yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=1000).strip()


def detector_of(arch: Arch) -> Arch:
    """The arch with a detector's head in place of its classifier, as wide as its feature map of stride 16."""
    if isinstance(arch.head, DetectorHead):
        return arch
    strides = arch.strides()
    rule = "a detector is made of a network with stages of stride 16 and, the last, 32"
    require(16 in strides and strides[-1] == 32, rule, strides=strides)
    fine = max(s for s, stride in enumerate(strides) if stride == 16)
    return replace(arch, head=DetectorHead(width=arch.stages[fine][-1].out, act=arch.head.act))
