"""The head of detectors, and its options in search spaces."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from ..utils.errors import InputError, require
from .checks import check_conv, is_count
from .genes import Chooser
from .options import check_ascending, largest_if, multiplied

SIDES = 4  # of a box: left, top, right, bottom
_MOST_LEVELS = 3  # of a detector that is made of a classifier


@dataclass(frozen=True, kw_only=True)
class DetectorHead:
    """A detector's head: a box and the classes at every position of some feature maps, without anchors.

    It reads the feature maps of the largest strides, such as 8, 16 and 32. A 1x1 convolution brings each to `width`
    channels; the coarser one, upsampled, is added to it (feature pyramid, Lin et al., CVPR 2017, section 3). Then it
    passes depthwise and 1x1 convolutions, and two last ones predict the distances from the position to the four sides
    of an object's box (Tian et al., ICCV 2019, section 3.1), and a score for each class.

    Attributes:
        width: Channels.
        levels: Number of feature maps.
        convs: Depthwise-separable convolutions on each map.
        kernel: Kernel size of the depthwise convolutions in pixels; odd.
        act: Activation; "relu", "relu6" or "hswish".
    """

    task: ClassVar[str] = "detect"
    is_spatial: ClassVar[bool] = True
    has_conv: ClassVar[bool] = True

    width: int
    levels: int = 3
    convs: int = 1
    kernel: int = 3
    act: str = "relu6"

    def __post_init__(self) -> None:
        check_conv(self.kernel, 1, self.act)
        require(is_count(self.width) and self.width > 0, "head.width > 0", width=self.width)
        require(is_count(self.levels) and self.levels > 0, "head.levels > 0", levels=self.levels)
        require(is_count(self.convs) and self.convs > 0, "head.convs > 0", convs=self.convs)

    @property
    def num_maps(self) -> int:
        """Number of feature maps that the head reads."""
        return self.levels

    def taps(self, strides: Sequence[int]) -> tuple[int, ...]:
        """Return the indices of the stages that the head reads, for the stages' strides against the image.

        Raises:
            InputError: One of the strides that it reads is missing.
        """
        for level in range(self.levels):
            if strides[-1] / 2**level not in strides:
                raise InputError(
                    f"head.levels is {self.levels}, but the strides of the stages are {list(strides)}, each map must "
                    f"have half the stride of the one before it, and there is no {strides[-1] / 2**level:g}; choose "
                    f"levels of at most {level}"
                )
        return tuple(sorted(_stage_of_stride(strides, strides[-1] / 2**level) for level in range(self.levels)))

    def as_detector(self, strides: Sequence[int], channels: Sequence[int]) -> "DetectorHead":
        """Return the head itself."""
        return self

    def widened(self, factors: Sequence[float]) -> "DetectorChoices":
        """Return the choices of this head with its channels multiplied by each of the factors."""
        return DetectorChoices(
            width=multiplied(self.width, factors),
            levels=(self.levels,),
            convs=(self.convs,),
            kernel=(self.kernel,),
            act=self.act,
        )


@dataclass(frozen=True, kw_only=True)
class DetectorChoices:
    """Options of a detector's head, see `DetectorHead`.

    Attributes:
        width: Channels, smallest first.
        levels: Numbers of feature maps, smallest first.
        convs: Numbers of convolutions on each map, smallest first.
        kernel: Kernel sizes of the depthwise convolutions in pixels, smallest first.
        act: Activation.
    """

    task: ClassVar[str] = DetectorHead.task

    width: tuple[int, ...]
    levels: tuple[int, ...] = (3,)
    convs: tuple[int, ...] = (1,)
    kernel: tuple[int, ...] = (3,)
    act: str = "relu6"

    def __post_init__(self) -> None:
        for name in ("width", "levels", "convs", "kernel"):
            check_ascending(name, getattr(self, name))

    def compose(self, choose: Chooser) -> DetectorHead:
        """Return the head of the chosen options."""
        return DetectorHead(
            width=choose("head.width", self.width),
            levels=choose("head.levels", self.levels),
            convs=choose("head.convs", self.convs),
            kernel=choose("head.kernel", self.kernel),
            act=self.act,
        )

    def fixed_choices(self, kinds: Sequence[str]) -> "DetectorChoices":
        """Return the choices with those of these kinds fixed to their largest options."""
        fixes_depth = "depth" in kinds
        return replace(
            self,
            width=largest_if("width" in kinds, self.width),
            levels=largest_if(fixes_depth, self.levels),
            convs=largest_if(fixes_depth, self.convs),
            kernel=largest_if("kernel" in kinds, self.kernel),
        )


def head_of_classifier(strides: Sequence[int], channels: Sequence[int], act: str) -> DetectorHead:
    """Return the head that makes a detector of a classifier's backbone.

    Args:
        strides: Of the stages against the image.
        channels: Of the stages' outputs.
        act: Activation.

    Returns:
        A head that reads up to three maps, as wide as the finest of them.
    """
    levels = 1
    while levels < _MOST_LEVELS and strides[-1] / 2**levels in strides:
        levels += 1
    finest = _stage_of_stride(strides, strides[-1] / 2 ** (levels - 1))
    return DetectorHead(width=channels[finest], levels=levels, act=act)


def _stage_of_stride(strides: Sequence[int], stride: float) -> int:
    """Return the index of the last stage of a stride, of which there is one."""
    return max(stage for stage, of_stage in enumerate(strides) if of_stage == stride)
