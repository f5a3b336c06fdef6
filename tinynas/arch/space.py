"""Search spaces: which archs there are to choose from, and how choices become an arch.

A gene is one choice, named after the field of the arch that it decides ("stages.2.0.kernel"; "stages.2.depth" for
the number of blocks) and given as the index of an option, smallest first. Rounding of channels happens here only.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from ..utils.errors import InputError, require
from ..utils.schema import check_keys, check_list, check_mapping, check_types, from_mapping
from .arch import Arch, Block, FitAnchors, Stem, read_head
from .choices import BlockChoices, DetectorChoices, HeadChoices, Pick, StageChoices, StemChoices, check_ascending

if TYPE_CHECKING:
    import numpy as np


_shared = lru_cache(maxsize=2**14)(Block)  # the archs of a space are made of the same few thousand blocks


def _same(option: Any) -> Any:
    return option


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """All archs that the choices make. `divisor`: expanded and squeezed channels are rounded to multiples of it."""

    resolution: tuple[int, ...]
    stem: StemChoices
    stages: tuple[StageChoices, ...]
    head: HeadChoices | DetectorChoices = field(default_factory=HeadChoices)
    divisor: int = 8
    se_floor: int = 8  # fewest channels of a squeeze layer
    in_channels: int = 3
    classes: int = 1000

    def __post_init__(self) -> None:
        check_ascending("resolution", self.resolution)
        require(self.divisor >= 1, "divisor >= 1", divisor=self.divisor)

    @property
    def task(self) -> str:
        """As an arch's."""
        return "classify" if isinstance(self.head, HeadChoices) else "detect"

    def min(self) -> Arch:
        """The arch of all smallest options."""
        return self._compose(lambda name, options, resolve=_same: resolve(options[0]))

    def max(self) -> Arch:
        """The arch of all largest options; every other arch is a part of it."""
        return self._compose(lambda name, options, resolve=_same: resolve(options[-1]))

    def sample(self, rng: "np.random.Generator", *, size_balanced: bool = False) -> Arch:
        """Every gene that matters drawn uniformly: each on its own, so that most archs are of middle size.

        With `size_balanced` each gene is still uniform, but all lean the same way, small or large (binomial draws of
        one random probability): sizes are spread from the smallest arch to the largest.
        """
        if size_balanced:
            lean = rng.random()
            return self._compose(
                lambda name, options, resolve=_same: resolve(options[rng.binomial(len(options) - 1, lean)])
            )
        return self._compose(lambda name, options, resolve=_same: resolve(options[int(rng.random() * len(options))]))

    def genes(self) -> dict[str, int]:
        """The genes with more than one option, and their numbers of options."""
        return dict(self._genes)

    @cached_property
    def _genes(self) -> dict[str, int]:
        found: dict[str, int] = {}

        def note(name: str, options: Sequence[Any], resolve: Callable[[Any], Any] = _same) -> Any:
            found[name] = len(options)
            return resolve(options[-1])

        self._compose(note)
        return {name: count for name, count in found.items() if count > 1}

    def decode(self, genes: Mapping[str, int]) -> Arch:
        """The arch of these option indices; a gene left out is 0."""
        return self._compose(lambda name, options, resolve=_same: resolve(options[genes.get(name, 0)]))

    def encode(self, arch: Arch) -> dict[str, int]:
        """The one encoding of an arch: genes it does not use are 0. Raises InputError if it is not of this space."""
        genes = dict.fromkeys(self._genes, 0)
        values = _flatten(arch)

        def find(name: str, options: Sequence[Any], resolve: Callable[[Any], Any] = _same) -> Any:
            for index, option in enumerate(options):
                if resolve(option) == values.get(name):
                    if name in genes:
                        genes[name] = index
                    return values[name]
            raise InputError(f"not of this search space: {name} is {values.get(name)}, options are {list(options)}")

        if self._compose(find) != arch:
            raise InputError("not of this search space: it differs in a part that the space leaves no choice about")
        return genes

    def fitted_to(self, *, in_channels: int, classes: int, fit_anchors: FitAnchors) -> "SearchSpace":
        """The space with a data set's input channels and classes and, for detectors, anchors."""
        return replace(self, in_channels=in_channels, classes=classes, head=self.head.with_anchors(fit_anchors))

    def contains(self, arch: Arch) -> bool:
        """Whether the arch is one of this space's."""
        try:
            self.encode(arch)
        except InputError:
            return False
        return True

    def fixed_choices(self, *choices: str) -> "SearchSpace":
        """The space with choices of kind "kernel", "depth", "expand" or "width" fixed to their largest options."""
        unknown_kinds = set(choices) - {"kernel", "depth", "expand", "width"}
        require(not unknown_kinds, "choices are kernel, depth, expand or width", choices=choices)
        per_block = [name for name in ("kernel", "expand", "width") if name in choices]
        stages = tuple(
            StageChoices(
                depth=stage.depth[-1:] if "depth" in choices else stage.depth,
                blocks=tuple(replace(b, **{name: getattr(b, name)[-1:] for name in per_block}) for b in stage.blocks),
            )
            for stage in self.stages
        )
        stem = replace(self.stem, width=self.stem.width[-1:]) if "width" in choices else self.stem
        return replace(self, stages=stages, stem=stem, head=self.head.fixed_choices(*choices))

    def _compose(self, pick: Pick) -> Arch:
        resolution = pick("resolution", self.resolution)
        channels = pick("stem.out", self.stem.width)
        stem = Stem(out=channels, kernel=self.stem.kernel, stride=self.stem.stride, act=self.stem.act)
        stages = []
        for s, stage in enumerate(self.stages):
            blocks = []
            for b in range(pick(f"stages.{s}.depth", stage.depth)):
                blocks.append(self._block(f"stages.{s}.{b}", stage.blocks[b], channels, pick))
                channels = blocks[-1].out
            stages.append(tuple(blocks))
        return Arch(
            resolution=resolution,
            in_channels=self.in_channels,
            classes=self.classes,
            stem=stem,
            stages=tuple(stages),
            head=self.head.compose(pick),
        )

    def _block(self, name: str, choices: BlockChoices, channels: int, pick: Pick) -> Block:
        out = pick(f"{name}.out", choices.width) if choices.width else channels
        mid = 0
        if choices.expand:
            mid = pick(f"{name}.mid", choices.expand, lambda expand: self._round(channels * expand))
        return _shared(
            out=out,
            kernel=pick(f"{name}.kernel", choices.kernel),
            stride=choices.stride,
            mid=mid,
            se=pick(f"{name}.se", choices.se, lambda reduction: self._squeeze(mid or channels, reduction)),
            act=pick(f"{name}.act", choices.act),
            residual=not choices.width,
        )

    def _round(self, channels: float) -> int:
        return max(self.divisor, int(channels / self.divisor + 0.5) * self.divisor)

    def _squeeze(self, mid: int, reduction: float) -> int:
        if not reduction:
            return 0
        return max(self.se_floor, round(mid / reduction / self.divisor) * self.divisor)

    @classmethod
    def from_dict(cls, plain: object) -> "SearchSpace":
        """The space that a YAML file of search_spaces/ describes. Raises InputError on unknown or missing keys."""
        values = dict(check_mapping(plain, "a search space"))
        act = values.pop("act", "relu6")  # of every layer that names none
        check_keys(cls, values, "a search space")
        check_types(cls, {**values, "resolution": _options(values["resolution"])}, "a search space")
        values["resolution"] = _options(values["resolution"])
        stem = {"act": act, **check_mapping(values["stem"], "stem")}
        values["stem"] = from_mapping(StemChoices, _with_options(stem, "width"), "stem")
        values["stages"] = tuple(
            _stage(check_mapping(stage, f"stage {s}"), act, f"stage {s}")
            for s, stage in enumerate(check_list(values["stages"], "stages"))
        )
        head = {"act": act, **check_mapping(values.get("head", {}), "head")}
        kinds = {"classify": HeadChoices, "detect": DetectorChoices}
        values["head"] = read_head(kinds, _with_options(head, "conv", "hidden", "width", "kernel"))
        return cls(**values)


def _stage(plain: Mapping[str, Any], act: str, where: str) -> StageChoices:
    """A stage of the YAML form: depth, and the options of its blocks; the first takes width and stride."""
    values = _with_options({"act": act, "depth": 1, **plain}, "depth", "width", "kernel", "expand", "se", "act")
    depth = values.pop("depth")
    check_types(StageChoices, {"depth": depth}, where)
    if "width" not in values:
        raise InputError(f"{where} lacks the key 'width'")
    first = from_mapping(BlockChoices, values, where)
    check_ascending(f"{where} depth", depth)
    rest = BlockChoices(kernel=first.kernel, expand=first.expand, se=first.se, act=first.act)
    return StageChoices(depth=depth, blocks=(first, *[rest] * (depth[-1] - 1)))


def _with_options(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: _options(value) if name in names else value for name, value in values.items()}


def _options(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list) else (value,)


def _flatten(arch: Arch) -> dict[str, Any]:
    """The arch's values by gene name."""
    values: dict[str, Any] = {"resolution": arch.resolution, "stem.out": arch.stem.out}
    for s, stage in enumerate(arch.stages):
        values[f"stages.{s}.depth"] = len(stage)
        for b, block in enumerate(stage):
            values |= {f"stages.{s}.{b}.{name}": value for name, value in vars(block).items()}
    return values | {f"head.{name}": value for name, value in vars(arch.head).items()}
