"""What a training is told: a run's and a retraining's config.yaml, everything resolved."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, TypeVar

from ..arch.arch import Arch
from ..arch.cost import Budget
from ..training.recipe import Recipe
from ..utils.errors import InputError, require, unknown
from ..utils.io import unused_path
from ..utils.schema import check_mapping, from_mapping

Config = TypeVar("Config")
SAMPLERS = ("predictor", "tpe", "nsga2", "random")  # implemented in study/samplers.py


@dataclass(frozen=True, kw_only=True)
class SupernetConfig:
    """What a run's supernet is trained on and how; a run's config.yaml."""

    space: str = "mobile32"
    data: str = "digits"
    num_random_subnets: int = 2  # random subnets a step, beside the largest and the smallest
    size_balanced_sampling: bool = True  # random subnets of all sizes alike, instead of mostly middle ones
    distillation: float = 0.5  # share of the largest network's outputs in the others' targets, beside the labels
    largest_warmup_epochs: int = 0  # at the start, in which the largest network is trained alone
    progressive_shrinking: bool = False  # then kernels, depths, expansions, widths become elastic one after the other
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=6, max_grad_norm=1.0))

    def __post_init__(self) -> None:
        require(self.num_random_subnets >= 0, "num_random_subnets >= 0", num_random_subnets=self.num_random_subnets)
        require(0 <= self.distillation <= 1, "0 <= distillation <= 1", distillation=self.distillation)
        rule = "0 <= largest_warmup_epochs < epochs"
        holds = 0 <= self.largest_warmup_epochs < self.recipe.epochs
        require(holds, rule, largest_warmup_epochs=self.largest_warmup_epochs, epochs=self.recipe.epochs)

    def fixed_choices(self, epoch: int) -> tuple[str, ...]:
        """The kinds of choices that are not yet elastic in an epoch, counted from 0.

        Progressive shrinking (Cai et al., ICLR 2020, section 3.3), each kind in an equal part of the epochs.
        """
        if not self.progressive_shrinking:
            return ()
        kinds = ("kernel", "depth", "expand", "width")
        part = len(kinds) * (epoch - self.largest_warmup_epochs) // (self.recipe.epochs - self.largest_warmup_epochs)
        return kinds[part + 1 :]


@dataclass(frozen=True, kw_only=True)
class NetAug:
    """How a target is augmented (Cai et al., ICLR 2022, sections 3.2 and 4.1)."""

    width: tuple[float, ...] = (1.0, 1.8, 2.6)  # factors of the channels between blocks
    expand: tuple[float, ...] = (1.0, 1.6, 2.2, 2.8)  # factors of the expansion ratios
    num_augmented: int = 1  # augmented networks a step
    alpha: float = 1.0  # weight of their losses
    every: int = 1  # augment every n-th step
    width_until: float = 0.5  # part of the epochs after which widths are not augmented any more
    expand_until: float = 0.5  # the same of expansion ratios; then the target is trained alone
    sort: bool = False  # put the most important channels first before every epoch that augments widths but the first

    def __post_init__(self) -> None:
        require(self.num_augmented >= 1 and self.every >= 1, "num_augmented >= 1 and every >= 1", netaug=self)
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
class Distillation:
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
    distillation: Distillation | None = None
    recipe: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        require(0 <= self.dropout < 1, "0 <= dropout < 1", dropout=self.dropout)
        lonely = self.distillation is not None and self.distillation.teach_augmented and not self.netaug
        require(not lonely, "augmented networks are taught with --netaug", teach_augmented=lonely)


def read_settings(cls: type[Config], plain: Mapping[str, Any], where: str) -> Config:
    """A config from plain data as config.yaml holds it. Raises InputError."""
    nested = {"recipe": Recipe, "netaug": NetAug, "distillation": Distillation}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
    own = {f.name for f in fields(cls) if is_dataclass(f.type) or "None" in str(f.type)}  # type: ignore[arg-type]
    for name in nested.keys() & own & {name for name, value in given.items() if value is not None}:
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


_PART_OF = {f.name: option for cls, option in ((NetAug, "--netaug"), (Distillation, "--teacher")) for f in fields(cls)}
AUTO = "auto"
SUPERNET = "supernet"  # in place of a cascade's larger model: the largest network of the tiny one's run
_OF_HEADS = ("taps", "hidden", "distillation", "temperature", "seed")  # what a cascade has no use for


@dataclass(frozen=True, kw_only=True)
class ExitPlan:
    """Exits on a delivered model: side heads at `taps` ("auto" tries every choice of stages), or `tiny` before it.

    The threshold is `threshold`, or the cheapest on search-val with at least an accuracy, in percent, or the most
    accurate within average MACs; by default the cheapest that loses nothing. Written to `out`.
    """

    model: Path
    tiny: Path | None = None
    out: Path | None = None
    data: str | None = None
    taps: tuple[str, ...] = (AUTO,)
    hidden: int = 64
    distillation: float = 0.0
    temperature: float = 1.0
    threshold: float | None = None
    accuracy: float | None = None
    macs: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        goals = {name: getattr(self, name) for name in ("threshold", "accuracy", "macs")}
        given = {name: value for name, value in goals.items() if value is not None}
        require(len(given) < 2, "a threshold is given, or one target", **given)
        require(self.threshold is None or self.threshold >= 0, "threshold >= 0", threshold=self.threshold)
        require(self.seed >= 0, "seed >= 0", seed=self.seed)
        require(AUTO not in self.taps or len(self.taps) == 1, "auto is the only tap, or none", taps=self.taps)
        rule = "a temperature is for --distillation"
        require(self.temperature == 1 or self.distillation > 0, rule, temperature=self.temperature)
        require(self.tiny is not None or str(self.model) != SUPERNET, "supernet is the larger network of a cascade")
        of_heads = [f for f in fields(self) if f.name in _OF_HEADS]
        named = {f.name: value for f in of_heads if (value := getattr(self, f.name)) != f.default}
        require(not self.tiny or not named, "a cascade has no side heads", **named)
        place = self.out and self.out / "model.safetensors"
        require(not (place and place.exists()), "exits have a folder of their own", out=str(self.out))

    def folder(self) -> Path:
        """Where it is written: if nothing is said, a new folder beside the model."""
        beside = self.tiny or self.model
        return self.out or unused_path(beside.parent / ("cascade" if self.tiny else "sidenet"))


FORMATS = ("onnx", "tflite")


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """What is exported where. `batch` images at a time, any number if None; `data` by default the model's own."""

    model: Path
    out: Path
    to: str = "onnx"
    data: str | None = None
    int8: bool = True
    batch: int | None = 1
    opset: int | None = None
    calibration: int = 500  # training images that set the ranges of int8
    margin: float = 2.0  # points of accuracy that int8 may lose without a warning

    def __post_init__(self) -> None:
        require(self.batch is None or self.batch > 0, "batch > 0", batch=self.batch)
        if self.to not in FORMATS:
            raise unknown("format", self.to, FORMATS)
        only_onnx = "TFLite files have no opset and take one image at a time"
        holds = self.to == "onnx" or (self.opset is None and self.batch == 1)
        require(holds, only_onnx, opset=self.opset, batch=self.batch)
        require(self.calibration > 0, "calibration > 0", calibration=self.calibration)


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """A search of a run's supernet: `trials` networks within the budget are evaluated.

    `pareto` looks for the whole front. `storage` is where the study is kept, by default a journal file in the run.
    """

    run: Path
    config: SupernetConfig
    budget: Budget
    trials: int = 50
    pareto: bool = False
    sampler: str = "predictor"
    storage: str | None = None
    workers: int = 1
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name in ("trials", "workers"):
            require(getattr(self, name) > 0, f"{name} > 0", **{name: getattr(self, name)})
        if self.sampler not in SAMPLERS:
            raise unknown("sampler", self.sampler, SAMPLERS)
        low, high = self.budget.min_macs, self.budget.macs
        if low is not None:
            require(self.pareto, "a range of MACs is for --pareto", pareto=self.pareto)
            require(high is None or low <= high, "low <= high", low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class RetrainPlan:
    """A retraining of one network into a folder of a run."""

    folder: Path
    arch: Arch
    config: RetrainConfig
    tensorboard: bool = False

    @property
    def run(self) -> Path:
        """The run, with the supernet that the network comes from, if it comes from one."""
        return self.folder.parent.parent
