"""What a training is told: a run's and a retraining's config.yaml, everything resolved."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from math import inf
from typing import Any, TypeVar

from .arch import check_mapping, from_mapping
from .errors import InputError, require
from .training import Recipe

Config = TypeVar("Config")


@dataclass(frozen=True, kw_only=True)
class SupernetConfig:
    """What a run's supernet is trained on and how; a run's config.yaml."""

    space: str = "mobile32"
    data: str = "digits"
    randoms: int = 2  # random subnets a step, beside the largest and the smallest
    spread: bool = True  # random subnets of all sizes alike, instead of mostly middle ones
    distillation: float = 0.5  # share of the largest network's outputs in the others' targets, beside the labels
    largest_epochs: int = 0  # at the start, in which the largest network is trained alone
    shrinking: bool = False  # then kernels, depths, expansions, widths become elastic one after the other
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=6, clip=1.0))

    def __post_init__(self) -> None:
        require(self.randoms >= 0, "randoms >= 0", randoms=self.randoms)
        require(0 <= self.distillation <= 1, "0 <= distillation <= 1", distillation=self.distillation)
        rule = "0 <= largest_epochs < epochs"
        holds = 0 <= self.largest_epochs < self.recipe.epochs
        require(holds, rule, largest_epochs=self.largest_epochs, epochs=self.recipe.epochs)

    def pinned(self, epoch: int) -> tuple[str, ...]:
        """The kinds of choices that are not yet elastic in an epoch, counted from 0.

        Progressive shrinking (Cai et al., ICLR 2020, section 3.3), each kind in an equal part of the epochs.
        """
        if not self.shrinking:
            return ()
        kinds = ("kernel", "depth", "expand", "width")
        part = len(kinds) * (epoch - self.largest_epochs) // (self.recipe.epochs - self.largest_epochs)
        return kinds[part + 1 :]


@dataclass(frozen=True, kw_only=True)
class NetAug:
    """How a target is augmented (Cai et al., ICLR 2022, sections 3.2 and 4.1)."""

    width: tuple[float, ...] = (1.0, 1.8, 2.6)  # factors of the channels between blocks
    expand: tuple[float, ...] = (1.0, 1.6, 2.2, 2.8)  # factors of the expansion ratios
    networks: int = 1  # augmented networks a step
    alpha: float = 1.0  # weight of their losses
    every: int = 1  # augment every n-th step
    width_until: float = 0.5  # part of the epochs after which widths are not augmented any more
    expand_until: float = 0.5  # the same of expansion ratios; then the target is trained alone
    sort: bool = False  # put the most important channels first before every epoch that augments widths but the first

    def __post_init__(self) -> None:
        require(self.networks >= 1 and self.every >= 1, "networks >= 1 and every >= 1", netaug=self)
        require(0 <= self.alpha < inf, "0 <= alpha < inf", alpha=self.alpha)
        widened = max(len(self.width), len(self.expand)) > 1
        require(widened, "NetAug widens widths or expansions", width=self.width, expand=self.expand)
        require(not self.sort or len(self.width) > 1, "only augmented widths are sorted", width=self.width)
        for name in ("width_until", "expand_until"):
            require(0 <= getattr(self, name) <= 1, f"0 <= {name} <= 1", **{name: getattr(self, name)})

    def factors(self, part: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Of width and expansion, when this part of the epochs is over."""
        return self.width if part < self.width_until else (1.0,), self.expand if part < self.expand_until else (1.0,)


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """What a teacher's soft labels are worth (Hinton et al., 2015, section 2)."""

    teacher: str  # "supernet", a model.safetensors, or torchvision:NAME[:weights.pth]
    teacher_weight: float = 0.5  # of its soft labels; the labels have the rest
    temperature: float = 1.0
    teach_augmented: bool = False  # the augmented networks too

    def __post_init__(self) -> None:
        require(0 <= self.teacher_weight <= 1, "0 <= teacher_weight <= 1", teacher_weight=self.teacher_weight)
        require(0 < self.temperature < inf, "0 < temperature < inf", temperature=self.temperature)


@dataclass(frozen=True, kw_only=True)
class RetrainConfig:
    """How a network is retrained: plain, or with NetAug, with a teacher, from weights that are there."""

    data: str = "digits"
    init: str = "kaiming-normal"  # kaiming-normal, kaiming-uniform, "supernet", or a model.safetensors
    dropout: float = 0.0  # share of the classifier's inputs that are dropped in training
    netaug: NetAug | None = None
    teaching: Teaching | None = None
    recipe: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        require(0 <= self.dropout < 1, "0 <= dropout < 1", dropout=self.dropout)
        lonely = self.teaching is not None and self.teaching.teach_augmented and not self.netaug
        require(not lonely, "augmented networks are taught with --netaug", teach_augmented=lonely)


def read_settings(cls: type[Config], plain: Mapping[str, Any], where: str) -> Config:
    """A config from plain data as config.yaml holds it. Raises InputError."""
    nested = {"recipe": Recipe, "netaug": NetAug, "teaching": Teaching}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
    for name in nested.keys() & {name for name, value in given.items() if value is not None}:
        given[name] = read_settings(nested[name], check_mapping(given[name], name), f"{name} in {where}")
    return from_mapping(cls, given, where)


def with_settings(config: Config, given: Mapping[str, Any]) -> Config:
    """The config with the settings given, its own or those of the configs in it. Raises InputError."""
    own = {f.name for f in fields(config)}  # type: ignore[arg-type]
    changed = {name: value for name, value in given.items() if name in own}
    left = {name: value for name, value in given.items() if name not in own}
    for name in own - changed.keys():
        inner = getattr(config, name)
        if is_dataclass(inner):
            known = {f.name for f in fields(inner)} & left.keys()
            changed[name] = replace(inner, **{key: left.pop(key) for key in known})  # type: ignore[type-var]
    for name in left:
        raise InputError(f"{name} is a setting of {_PART_OF[name]}, and this training has none")
    return replace(config, **changed)  # type: ignore[type-var]


_PART_OF = {f.name: option for cls, option in ((NetAug, "--netaug"), (Teaching, "--teacher")) for f in fields(cls)}
