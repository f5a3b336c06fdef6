"""NetAug's search spaces: a target network inside wider ones."""

from collections.abc import Sequence
from math import isfinite

from ..utils.errors import InputError
from .arch import Arch
from .blocks import Block
from .choices import BlockChoices, StageChoices, StemChoices
from .options import Factors, ReductionOption, multiplied
from .space import SearchSpace

_EXPAND = (1.0, 1.6, 2.2, 2.8)


def augment(
    target: Arch,
    *,
    width: Sequence[float] = (1.0, 1.8, 2.6),
    expand: Sequence[float] = _EXPAND,
    from_stage: int = 0,
) -> SearchSpace:
    """Return the space of wider networks around a target that share its weights.

    The augmented networks of NetAug (Cai et al., ICLR 2022, section 3.2).

    Args:
        target: The network to be augmented, the smallest of the space.
        width: Factors of the channels of the stem, of every block without shortcut and of the head; ascending from 1.
        expand: Factors of the expansion ratio of every inverted residual; ascending from 1.
        from_stage: Number of the first stage, from 0, that is augmented. Above 0, the stem and the earlier stages are
            the target's in all networks.

    Returns:
        A search space whose `min()` is the target.

    Raises:
        InputError: The factors do not begin with 1, do not grow or are not finite, or there is no such stage.

    Example:
        >>> from tinynas import augment, load_arch
        >>> target = load_arch("mobilenet-v2-tiny")
        >>> space = augment(target, width=[1, 2], expand=[1, 1.5])
        >>> space.min() == target
        True
        >>> space.max().stem.out == 2 * target.stem.out
        True
    """
    _check_factors("width", width)
    _check_factors("expand", expand)
    if not 0 <= from_stage < len(target.stages):
        raise InputError(
            f"augmentation begins at stage {from_stage}, but the network has the stages 0 to {len(target.stages) - 1}; "
            "choose one of them"
        )
    stem, channels = target.stem, target.stem.out
    squeezed = [16]
    stages = []
    for number, stage in enumerate(target.stages):
        factors = Factors(width, expand) if number >= from_stage else Factors((1.0,), (1.0,))
        blocks = []
        for block in stage:
            blocks.append(_augmented_block(block, channels, factors))
            channels = block.out
            squeezed += _squeezed_channels(block)
        stages.append(StageChoices(depth=(len(stage),), blocks=tuple(blocks)))
    stem_width = multiplied(stem.out, width if from_stage == 0 else (1.0,))
    return SearchSpace(
        resolution=(target.resolution,),
        stem=StemChoices(width=stem_width, kernel=stem.kernel, stride=stem.stride, act=stem.act),
        stages=tuple(stages),
        head=target.head.widened(width),
        divisor=1,
        se_floor=min(squeezed),
        in_channels=target.in_channels,
        classes=target.classes,
        padding=target.padding,
    )


def family_factors(target: Arch) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the factors of width and of expansion ratios that the paper uses for this family (section 4.1).

    MobileNetV3 is recognised by h-swish, MCUNet by having no convolution before its classifier; any other network
    gets the factors of MobileNetV2.
    """
    if "hswish" in (target.head.act, target.stem.act):
        return (1.0, 2.0, 3.0), _EXPAND
    if not target.head.has_conv:
        return (1.0, 1.6, 2.2), _EXPAND
    return (1.0, 1.8, 2.6), _EXPAND


def _augmented_block(block: Block, channels: int, factors: Factors) -> BlockChoices:
    fields = vars(block)
    options = []
    for option in block.options:
        keeps_channels = option.field == "out" and block.residual
        options.append(() if keeps_channels else option.augmented(fields, channels, factors))
    return BlockChoices(kind=type(block), options=tuple(options), strides=(block.stride,))


def _squeezed_channels(block: Block) -> list[int]:
    """Return the channels of the block's squeeze layers."""
    channels = []
    for option in block.options:
        if isinstance(option, ReductionOption) and getattr(block, option.field):
            channels.append(getattr(block, option.field))
    return channels


def _check_factors(name: str, factors: Sequence[float]) -> None:
    ascending = list(factors) == sorted(set(factors)) and list(factors[:1]) == [1]
    if not ascending or not all(map(isfinite, factors)):
        raise InputError(
            f"{name} factors begin with 1 and grow, but are {list(factors)}; pass factors such as [1, 1.8, 2.6]"
        )
