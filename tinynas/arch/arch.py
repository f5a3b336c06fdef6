"""An architecture as frozen, plain data: every size is a resolved integer, rounding already done.

An `Arch` is an image classifier or an object detector: a stem convolution, stages of blocks, and a head. Two archs are
the same network exactly if they are equal; they can be hashed, compared, and written to YAML and read back.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import yaml

from ..utils.errors import InputError, require, unknown
from ..utils.schema import check_keys, check_list, check_mapping, from_mapping
from ..utils.sizes import Size, check_size, pair, read_size, with_lists, with_sizes
from .block_kinds import block_from_dict, block_to_dict
from .blocks import Block, Stem
from .checks import is_count
from .detector_head import DetectorHead
from .heads import AnyHead, Head, detector_head, head_from_dict
from .own_code import errors_of_block

MAX_RESOLUTION = 2048  # pixels; so that a wrong number takes no gigabytes
PADDINGS = SYMMETRIC, SAME = "symmetric", "same"


@dataclass(frozen=True, kw_only=True)
class Arch:
    """A network, a classifier or a detector, as data.

    Attributes:
        resolution: Size of the images in pixels: a number, or height and width of images that are not square.
        in_channels: Channels of the images.
        classes: Number of classes.
        stem: The first convolution.
        stages: The blocks of each stage.
        head: `Head` of a classifier or `DetectorHead`.
        padding: Zeros around feature maps. They differ where a convolution of stride 2 reads an even size, which needs
            one row and column fewer: "symmetric" adds more before the first pixel, as PyTorch does, "same" more after
            the last, as TensorFlow Lite does.

    Raises:
        InputError: A size is not a positive whole number, the resolution is over 2048 pixels, a stage is empty, a
            residual block changes its channels or has a stride, a detector lacks a stride that its head reads or is not
            for square images, or the padding is unknown.

    Example:
        >>> from tinynas import Arch, load_arch
        >>> arch = load_arch("mcunet-in3")
        >>> arch.task, arch.resolution, arch.classes
        ('classify', 176, 1000)
        >>> arch.stages[0][0].kernel
        3
        >>> Arch.from_dict(arch.to_dict()) == arch
        True
    """

    resolution: Size
    in_channels: int = 3
    classes: int = 1000
    stem: Stem
    stages: tuple[tuple[Block, ...], ...]
    head: AnyHead = field(default_factory=Head)
    padding: str = SYMMETRIC

    def __post_init__(self) -> None:
        check_size("resolution", self.resolution)
        largest = max(pair(self.resolution))
        require(largest <= MAX_RESOLUTION, f"resolution <= {MAX_RESOLUTION}", resolution=largest)
        require(is_count(self.in_channels) and self.in_channels > 0, "in_channels > 0", in_channels=self.in_channels)
        require(is_count(self.classes) and self.classes > 0, "classes > 0", classes=self.classes)
        if not self.stages or not all(self.stages):
            blocks = [len(stage) for stage in self.stages]
            raise InputError(f"an arch needs a stage, and every stage a block, but the blocks per stage are {blocks}")
        self._check_blocks()
        self._check_square_detector()
        self.taps()
        check_padding(self.padding)

    def _check_blocks(self) -> None:
        channels = self.stem.out
        for stage in self.stages:
            for block in stage:
                with errors_of_block(type(block), "check"):
                    block.check(channels)
                channels = block.out

    def _check_square_detector(self) -> None:
        sizes = [self.resolution, self.stem.stride]
        for stage in self.stages:
            sizes += [block.stride for block in stage]
        if self.head.is_spatial and any(isinstance(size, tuple) for size in sizes):
            raise InputError(
                "a detector takes square images and has the same stride in both directions, "
                f"but its resolution is {self.resolution} and the strides are {sizes[1:]}"
            )

    @property
    def height(self) -> int:
        """Height of the images in pixels; of a detector's images also the width."""
        return pair(self.resolution)[0]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """The shape of an image, (in_channels, height, width)."""
        return self.in_channels, *pair(self.resolution)

    @property
    def task(self) -> str:
        """What the network does: "classify" or "detect"."""
        return self.head.task

    @property
    def detector(self) -> DetectorHead:
        """The head, for code that handles detectors only. Raises InputError for a classifier."""
        return detector_head(self.head)

    def fitted_to(self, *, in_channels: int, classes: int) -> "Arch":
        """Return the arch adapted to a data set.

        Args:
            in_channels: Channels of the data set's images.
            classes: Number of the data set's classes.

        Returns:
            A copy with these input channels and classes.
        """
        return replace(self, in_channels=in_channels, classes=classes)

    def is_when_fitted(self, other: "Arch") -> bool:
        """Return whether this network, fitted to the data set of another one, is that one.

        Args:
            other: A network that was fitted to its data set.

        Returns:
            Whether they differ in nothing but input channels and classes.
        """
        return self.fitted_to(in_channels=other.in_channels, classes=other.classes) == other

    def as_detector(self) -> "Arch":
        """Return a detector with this backbone.

        Returns:
            A copy with a detector's head on the feature maps of the three largest strides, as wide as the finest of
            them; a detector is returned as it is.
        """
        channels = [stage[-1].out for stage in self.stages]
        return replace(self, head=self.head.as_detector(self.strides(), channels))

    def strides(self) -> list[int]:
        """Return the stride of each stage's output against the image, in pixels.

        Returns:
            One stride per stage, such as [2, 4, 8, 16, 32]; the vertical one where they differ.
        """
        stride, strides = pair(self.stem.stride)[0], []
        for stage in self.stages:
            for block in stage:
                stride *= pair(block.stride)[0]
            strides.append(stride)
        return strides

    def taps(self) -> tuple[int, ...]:
        """Return the indices of the stages whose feature maps the head reads.

        Returns:
            The last stage of a classifier; of a detector, the last stages of the strides that its head reads, finest
            first.
        """
        return self.head.taps(self.strides())

    def tapped_strides(self) -> tuple[int, ...]:
        """Return the strides of the feature maps that the head reads.

        Returns:
            The strides in pixels, the finest first.
        """
        strides = self.strides()
        return tuple([strides[stage] for stage in self.taps()])

    def to_dict(self) -> dict[str, Any]:
        """Return the arch as plain data.

        Returns:
            Dicts, lists, strings and numbers, from which `Arch.from_dict` restores the arch. Symmetric padding, the
            default, is left out.
        """
        plain: dict[str, Any] = with_lists(asdict(self))
        plain["stages"] = [[with_lists(block_to_dict(block)) for block in stage] for stage in self.stages]
        if self.padding == SYMMETRIC:
            del plain["padding"]
        return plain

    @classmethod
    def from_dict(cls, plain: object) -> "Arch":
        """Restore an arch from plain data.

        Args:
            plain: A mapping as `to_dict` returns it.

        Returns:
            The arch.

        Raises:
            InputError: A key is unknown or missing, or a value is impossible.
        """
        values = dict(check_mapping(plain, "an arch"))
        check_keys(cls, values, "an arch")
        stages = check_list(values["stages"], "stages")
        values["stages"] = tuple(_stage_from_list(stage, f"stage {s}") for s, stage in enumerate(stages))
        values["resolution"] = read_size(values["resolution"])
        values["stem"] = from_mapping(Stem, with_sizes(check_mapping(values["stem"], "stem")), "stem")
        values["head"] = head_from_dict(values.get("head", {}))
        return cls(**values)

    def to_yaml(self) -> str:
        """Return the arch as YAML.

        Returns:
            Text with one line for the stem, for each block and for the head, which `load_arch` reads from a file.
        """
        plain = self.to_dict()
        lines = [
            f"resolution: {_flow(plain['resolution'])}",
            f"in_channels: {self.in_channels}",
            f"classes: {self.classes}",
        ]
        if self.padding != SYMMETRIC:
            lines.append(f"padding: {self.padding}")
        lines += [f"stem: {_flow(plain['stem'])}", "stages:"]
        for stage in plain["stages"]:
            bullet = "- "  # of the stage, before its first block
            for block in stage:
                lines.append(f"{bullet}- {_flow(block)}")
                bullet = "  "
        lines.append(f"head: {_flow(plain['head'])}")
        return "\n".join(lines) + "\n"


def check_padding(padding: str) -> None:
    """Raise InputError if the padding is not one of PADDINGS."""
    if padding not in PADDINGS:
        raise unknown("padding", padding, PADDINGS)


def _stage_from_list(plain: object, where: str) -> tuple[Block, ...]:
    blocks = []
    for b, block in enumerate(check_list(plain, where)):
        blocks.append(block_from_dict(block, f"block {b} of {where}"))
    return tuple(blocks)


def _flow(plain: object) -> str:
    text = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=1000)
    return text.removesuffix("...\n").strip()  # the end of a document that is a number
