"""NetAug's search spaces: a target network inside wider ones."""

from collections.abc import Sequence
from math import isfinite

from ..utils.errors import require
from .arch import Arch, Block, DetectorHead, Head
from .choices import BlockChoices, DetectorChoices, HeadChoices, StageChoices, StemChoices
from .space import SearchSpace


def augment(
    target: Arch, *, width: Sequence[float] = (1.0, 1.8, 2.6), expand: Sequence[float] = (1.0, 1.6, 2.2, 2.8)
) -> SearchSpace:
    """The wider networks around a target that share its weights; the smallest is the target itself.

    NetAug (Cai et al., ICLR 2022, section 3.2). `width` multiplies the channels of the stem, of every block without
    shortcut and of the head; `expand` the expansion ratio of every inverted residual. Both begin with 1.
    """
    for name, factors in (("width", width), ("expand", expand)):
        rule = f"{name} factors begin with 1 and grow"
        grow = list(factors) == sorted(set(factors)) and list(factors[:1]) == [1]
        require(grow and all(map(isfinite, factors)), rule, **{name: list(factors)})
    floors = [block.se for stage in target.stages for block in stage if block.se]
    stages, channels = [], target.stem.out
    for stage in target.stages:
        blocks = []
        for block in stage:
            blocks.append(_augmented_block(block, channels, width, expand))
            channels = block.out
        stages.append(StageChoices(depth=(len(stage),), blocks=tuple(blocks)))
    stem, head = target.stem, target.head
    return SearchSpace(
        resolution=(target.resolution,),
        stem=StemChoices(width=_widened(stem.out, width), kernel=stem.kernel, stride=stem.stride, act=stem.act),
        stages=tuple(stages),
        head=_augmented_head(head, width),
        divisor=1,
        se_floor=min([16, *floors]),
        in_channels=target.in_channels,
        classes=target.classes,
    )


def family_factors(target: Arch) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The factors of width and of expansion that the paper takes for networks like this one (section 4.1).

    MobileNetV3 is told by its h-swish, MCUNet by having no convolution before its classifier; else MobileNetV2's.
    """
    if target.head.act == "hswish" or target.stem.act == "hswish":
        width: tuple[float, ...] = (1.0, 2.0, 3.0)
    else:
        mcunet = isinstance(target.head, Head) and not target.head.conv
        width = (1.0, 1.6, 2.2) if mcunet else (1.0, 1.8, 2.6)
    return width, (1.0, 1.6, 2.2, 2.8)


def _augmented_block(block: Block, channels: int, width: Sequence[float], expand: Sequence[float]) -> BlockChoices:
    return BlockChoices(
        kernel=(block.kernel,),
        expand=tuple(block.mid / channels * factor for factor in expand) if block.mid else (),
        width=() if block.residual else _widened(block.out, width),
        se=((block.mid or channels) / block.se if block.se else 0,),
        act=(block.act,),
        stride=block.stride,
    )


def _augmented_head(head: Head | DetectorHead, width: Sequence[float]) -> HeadChoices | DetectorChoices:
    if isinstance(head, Head):
        return HeadChoices(conv=_widened(head.conv, width), hidden=_widened(head.hidden, width), act=head.act)
    widths = _widened(head.width, width)
    return DetectorChoices(width=widths, kernel=(head.kernel,), act=head.act, anchors=head.anchors)


def _widened(channels: int, factors: Sequence[float]) -> tuple[int, ...]:
    return tuple(sorted({int(channels * factor + 0.5) for factor in factors}))
