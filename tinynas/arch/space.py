"""Search spaces: which archs there are to choose from, and how choices become an arch.

A gene is one choice, named after the field of the arch that it decides ("stages.2.0.kernel"; "stages.2.depth" for
the number of blocks) and represented by the index of an option, smallest first. Rounding of channels happens here only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from ..utils.errors import InputError, errors_in, require
from ..utils.schema import check_keys, check_list, check_mapping, check_types, from_mapping
from ..utils.sizes import Size, read_size
from .arch import SYMMETRIC, Arch, check_padding
from .blocks import Stem
from .choices import StageChoices, StemChoices, as_options, stage_from_dict, with_options
from .genes import Chooser, count_options, decoded, draw, draw_leaning, encode_value, largest, middle, smallest
from .heads import AnyHeadChoices, HeadChoices, head_choices_from_dict
from .options import Rounding, check_ascending

if TYPE_CHECKING:
    import numpy as np

FIXABLE = ("kernel", "depth", "expand", "width")  # kinds of choices that `fixed_choices` knows


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """The archs that can be composed from options for every size.

    Attributes:
        resolution: Image sizes in pixels, smallest first: numbers, or pairs of height and width.
        stem: Options of the first convolution.
        stages: Options of each stage.
        head: Options of the head, of a classifier or of a detector.
        divisor: Expanded and squeezed channels are rounded to multiples of it.
        se_floor: Least number of channels of a squeeze layer.
        in_channels: Channels of the images.
        classes: Number of classes.
        padding: Padding of all archs, see `Arch`.

    Raises:
        InputError: Options are not positive, not in ascending order, or contradict each other, or the padding is
            unknown.

    Example:
        >>> from tinynas import cost, load_space
        >>> space = load_space("micro")
        >>> cost(space.min()).macs < cost(space.max()).macs
        True
        >>> space.contains(space.min())
        True
    """

    resolution: tuple[Size, ...]
    stem: StemChoices
    stages: tuple[StageChoices, ...]
    head: AnyHeadChoices = field(default_factory=HeadChoices)
    divisor: int = 8
    se_floor: int = 8
    in_channels: int = 3
    classes: int = 1000
    padding: str = SYMMETRIC

    def __post_init__(self) -> None:
        check_padding(self.padding)
        check_ascending("resolution", self.resolution)
        require(self.divisor >= 1, "divisor >= 1", divisor=self.divisor)
        require(self.se_floor >= 1, "se_floor >= 1", se_floor=self.se_floor)

    @property
    def task(self) -> str:
        """What the networks do: "classify" or "detect"."""
        return self.head.task

    @property
    def rounding(self) -> Rounding:
        """How channels inside blocks are rounded."""
        return Rounding(self.divisor, self.se_floor)

    def min(self) -> Arch:
        """Return the smallest arch.

        Returns:
            The arch of all smallest options.
        """
        return self._compose(smallest)

    def middle(self) -> Arch:
        """Return the arch of all middle options, of an even number the lower one of the two.

        Returns:
            The network that needs no search; `tinynas.scale_to` fits it into limits.
        """
        return self._compose(middle)

    def max(self) -> Arch:
        """Return the largest arch.

        Returns:
            The arch of all largest options; every other arch of the space is a part of it.
        """
        return self._compose(largest)

    def sample(self, rng: "np.random.Generator", *, size_balanced: bool = False) -> Arch:
        """Draw a random arch; every option of a gene is equally likely.

        Args:
            rng: Source of randomness.
            size_balanced: Whether all genes lean the same way, small or large (binomial draws of one random
                probability), so that sizes are distributed from the smallest arch to the largest. Otherwise genes are
                drawn independently, and most archs are of middle size.

        Returns:
            An arch of the space.
        """
        if size_balanced:
            return self._compose(partial(draw_leaning, rng, rng.random()))
        return self._compose(partial(draw, rng))

    def genes(self) -> dict[str, int]:
        """Return the genes that leave a choice.

        Returns:
            Number of options, at least 2, by name of the gene.
        """
        return dict(self._genes)

    @cached_property
    def _genes(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        self._compose(partial(count_options, counts))
        return {name: count for name, count in counts.items() if count > 1}

    def decode(self, genes: Mapping[str, int]) -> Arch:
        """Return the arch that genes describe.

        Args:
            genes: Index of the chosen option by name of the gene; 0 for those left out.

        Returns:
            The arch of these options.
        """
        return self._compose(partial(decoded, genes))

    def encode(self, arch: Arch) -> dict[str, int]:
        """Return the genes that describe an arch, the inverse of `decode`.

        Args:
            arch: An arch of the space.

        Returns:
            Index of the chosen option by name of the gene. Equal archs have equal genes: the index is 0 for genes that
            the arch does not use, such as those of blocks beyond its depth.

        Raises:
            InputError: The arch is not in this search space.
        """
        genes = dict.fromkeys(self._genes, 0)
        if self._compose(partial(encode_value, genes, _values_by_gene(arch))) != arch:
            raise InputError("not in this search space: it differs in a part that the space leaves no choice about")
        return genes

    def fitted_to(self, *, in_channels: int, classes: int) -> "SearchSpace":
        """Return the space adapted to a data set.

        Args:
            in_channels: Channels of the data set's images.
            classes: Number of the data set's classes.

        Returns:
            A copy with these input channels and classes.
        """
        return replace(self, in_channels=in_channels, classes=classes)

    def contains(self, arch: Arch) -> bool:
        """Return whether an arch is in this search space.

        Args:
            arch: Any arch.

        Returns:
            Whether `encode` accepts it.
        """
        try:
            self.encode(arch)
        except InputError:
            return False
        return True

    def fixed_choices(self, *kinds: str) -> "SearchSpace":
        """Return the space with some kinds of choices fixed to their largest options.

        Args:
            *kinds: Any of "kernel", "depth", "expand" and "width".

        Returns:
            A copy without these choices.

        Raises:
            InputError: A kind is not one of these.
        """
        if not set(kinds) <= set(FIXABLE):
            raise InputError(f"choices are kernel, depth, expand or width, but got {', '.join(kinds)}")
        return replace(
            self,
            stem=self.stem.fixed_choices(kinds),
            stages=tuple(stage.fixed_choices(kinds) for stage in self.stages),
            head=self.head.fixed_choices(kinds),
        )

    def _compose(self, choose: Chooser) -> Arch:
        """Return the arch of the values that `choose` decides on, gene by gene."""
        resolution = choose("resolution", self.resolution)
        channels = choose("stem.out", self.stem.width)
        with errors_in("stem"):
            stem = Stem(out=channels, kernel=self.stem.kernel, stride=self.stem.stride, act=self.stem.act)
        stages = []
        for s, stage in enumerate(self.stages):
            blocks = []
            with errors_in(f"stage {s}"):
                for b in range(choose(f"stages.{s}.depth", stage.depth)):
                    name, choices = f"stages.{s}.{b}", stage.blocks[b]
                    blocks.append(choices.compose(name, channels, choose, rounding=self.rounding))
                    channels = blocks[-1].out
            stages.append(tuple(blocks))
        with errors_in("head"):
            head = self.head.compose(choose)
        return Arch(
            resolution=resolution,
            in_channels=self.in_channels,
            classes=self.classes,
            stem=stem,
            stages=tuple(stages),
            head=head,
            padding=self.padding,
        )

    def _compose_every_option(self) -> None:
        """Compose archs that have every option of every gene among them: stem, blocks and head check their fields."""
        for index in range(max(self._genes.values(), default=1)):
            self.decode({name: min(index, count - 1) for name, count in self._genes.items()})

    @classmethod
    def from_dict(cls, plain: object) -> "SearchSpace":
        """Return the search space that plain data describes.

        Args:
            plain: A mapping with the keys of a YAML file in search_spaces/.

        Returns:
            The search space.

        Raises:
            InputError: A key is unknown or missing, or a value is impossible.
        """
        values = dict(check_mapping(plain, "a search space"))
        act = values.pop("act", "relu6")  # of every layer that names none
        check_keys(cls, values, "a search space")
        values["resolution"] = as_options(values["resolution"])
        check_types(cls, values, "a search space")
        stem = {"act": act, **check_mapping(values["stem"], "stem")}
        for key in ("kernel", "stride"):
            stem[key] = read_size(stem.get(key, getattr(StemChoices, key)))
        values["stem"] = from_mapping(StemChoices, with_options(stem, "width"), "stem")
        values["stages"] = tuple(
            stage_from_dict(check_mapping(stage, f"stage {s}"), act, f"stage {s}")
            for s, stage in enumerate(check_list(values["stages"], "stages"))
        )
        head = {"act": act, **check_mapping(values.get("head", {}), "head")}
        values["head"] = head_choices_from_dict(
            with_options(head, "conv", "hidden", "width", "levels", "convs", "kernel")
        )
        space = cls(**values)
        space._compose_every_option()
        return space


def _values_by_gene(arch: Arch) -> dict[str, Any]:
    values: dict[str, Any] = {"resolution": arch.resolution, "stem.out": arch.stem.out}
    for s, stage in enumerate(arch.stages):
        values[f"stages.{s}.depth"] = len(stage)
        for b, block in enumerate(stage):
            for name, value in vars(block).items():
                values[f"stages.{s}.{b}.{name}"] = value
    for name, value in vars(arch.head).items():
        values[f"head.{name}"] = value
    return values
