"""Configurations of a supernet's training and of a retraining: all settings, and their defaults by task."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from ..training.recipe import Recipe
from ..utils.errors import InputError, require, unknown
from ..utils.paths import with_absolute_path
from ..utils.settings import check_settings, setting

Config = TypeVar("Config")
DATA_HELP = (
    "Data set: digits, fashion-mnist, cifar10, cifar100, food101, flowers102, pets, cars, or imagefolder:PATH with "
    "train/ and val/; for detection scattered-digits, scattered-fashion, voc:PATH or coco:PATH"
)
DATA_METAVAR = "NAME[:PATH]"
SKIP_UNREADABLE_HELP = "Leave out images that cannot be read, instead of stopping"
_SUPERNET, _NETAUG, _TEACHER, _START = "Supernet", "NetAug", "Teacher", "Initial weights"


def skip_unreadable_setting() -> Any:
    """Return the field that says whether unreadable images are left out."""
    return setting(False, help=SKIP_UNREADABLE_HELP)


@dataclass(frozen=True, kw_only=True)
class SupernetConfig:
    """How a run's supernet is trained, and on what; a run's config.yaml."""

    space: str = setting("mobile32", help="Search space, see `tinynas spaces`", group=_SUPERNET, metavar="NAME|FILE")
    data: str = setting("digits", help=DATA_HELP, metavar=DATA_METAVAR, parse=with_absolute_path)
    skip_unreadable: bool = skip_unreadable_setting()
    num_random_subnets: int = setting(
        2,
        help="Random subnets in a training step, beside the largest and the smallest",
        group=_SUPERNET,
        aliases=("randoms",),
        minimum=0,
    )
    size_balanced_sampling: bool = setting(
        True,
        help="Sample random subnets of all sizes equally often, instead of mostly medium ones",
        group=_SUPERNET,
        aliases=("spread",),
    )
    distillation: float = setting(
        0.5,
        help="Weight of the largest network's outputs in the targets of all others; labels have the rest",
        group=_SUPERNET,
        minimum=0,
        maximum=1,
    )
    largest_warmup_epochs: int = setting(
        0,
        help="Length of the first part of training, in which only the largest network is trained",
        unit="epochs",
        group=_SUPERNET,
        aliases=("largest_epochs",),
        minimum=0,
    )
    progressive_shrinking: bool = setting(
        False,
        help="Make kernels, depths, expansions and widths elastic one after the other (Once-for-All)",
        group=_SUPERNET,
        aliases=("shrinking",),
    )
    recipe: Recipe = field(default_factory=partial(Recipe, epochs=6, max_grad_norm=1.0))

    def __post_init__(self) -> None:
        check_settings(self)
        require(
            self.largest_warmup_epochs < self.recipe.epochs,
            "largest_warmup_epochs < epochs",
            largest_warmup_epochs=self.largest_warmup_epochs,
            epochs=self.recipe.epochs,
        )

    @classmethod
    def for_task(cls, task: str) -> "SupernetConfig":
        """Return the defaults for a task, "classify" or "detect". Raises InputError."""
        return _for_task(_SUPERNET_DEFAULTS, task)

    @classmethod
    def variants(cls) -> dict[str, "SupernetConfig"]:
        """Return the defaults that --help and the docs show, by case."""
        return {"classification": _SUPERNET_DEFAULTS["classify"], "detection": _SUPERNET_DEFAULTS["detect"]}

    def fixed_choices(self, epoch: int) -> tuple[str, ...]:
        """Return the kinds of choices that are not yet elastic in an epoch, counted from 0.

        Progressive shrinking (Cai et al., ICLR 2020, section 3.3); each kind takes an equal part of the epochs.
        """
        if not self.progressive_shrinking:
            return ()
        kinds = ("kernel", "depth", "expand", "width")
        part = len(kinds) * (epoch - self.largest_warmup_epochs) // (self.recipe.epochs - self.largest_warmup_epochs)
        return kinds[part + 1 :]


def _factors(text: str) -> tuple[float, ...]:
    """Read "1,1.8,2.6". Raises InputError."""
    try:
        return tuple(map(float, text.split(",")))
    except ValueError:
        raise InputError(f"cannot read {text!r}: expected factors like 1,1.8,2.6") from None


@dataclass(frozen=True, kw_only=True)
class NetAug:
    """How a target is augmented (Cai et al., ICLR 2022, sections 3.2 and 4.1)."""

    width: tuple[float, ...] = setting(
        (1.0, 1.8, 2.6),
        help="Factors of the widths between blocks",
        group=_NETAUG,
        metavar="1,A,B",
        default_text="the paper's for the network's family, e.g. 1,1.8,2.6",
        parse=_factors,
    )
    expand: tuple[float, ...] = setting(
        (1.0, 1.6, 2.2, 2.8), help="Factors of the expand ratios", group=_NETAUG, metavar="1,A,B", parse=_factors
    )
    num_augmented: int = setting(
        1, help="Augmented networks in a training step", group=_NETAUG, aliases=("networks",), minimum=1
    )
    alpha: float = setting(1.0, help="Weight of the augmented networks' losses", group=_NETAUG, minimum=0)
    every: int = setting(1, help="Augment every n-th training step of an epoch", group=_NETAUG, minimum=1)
    width_until: float = setting(
        0.5, help="Fraction of the epochs in which widths are augmented", group=_NETAUG, minimum=0, maximum=1
    )
    expand_until: float = setting(
        0.5,
        help="Fraction of the epochs in which expand ratios are augmented; the paper uses 1",
        group=_NETAUG,
        minimum=0,
        maximum=1,
    )
    sort: bool = setting(
        False,
        help="Before each epoch that augments widths, but the first, give the target the most important channels",
        group=_NETAUG,
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if max(len(self.width), len(self.expand)) < 2:
            raise InputError(f"width {self.width} and expand {self.expand} augment nothing; add a factor above 1")
        if self.sort and len(self.width) < 2:
            raise InputError(f"sort needs augmented widths, but width is {self.width}; add a factor above 1")

    def factors(self, part: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the factors of widths and of expand ratios after a fraction of the epochs."""
        width = self.width if part < self.width_until else (1.0,)
        expand = self.expand if part < self.expand_until else (1.0,)
        return width, expand


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """How a network learns from a teacher's outputs (Hinton et al., 2015, section 2)."""

    teacher: str = setting(
        help="Teacher whose outputs are learned beside the labels: supernet, a model's file or folder, or "
        "torchvision:NAME[:WEIGHTS]",
        group=_TEACHER,
        metavar="NAME",
        parse=with_absolute_path,
    )
    teacher_weight: float = setting(
        0.5,
        help="Weight of the teacher's outputs in the loss; labels have the rest",
        group=_TEACHER,
        minimum=0,
        maximum=1,
    )
    temperature: float = setting(
        1.0, help="Temperature that softens the outputs of teacher and network", group=_TEACHER, above=0
    )
    teach_augmented: bool = setting(
        False, help="Use the teacher for NetAug's augmented networks as well", group=_TEACHER
    )

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, kw_only=True)
class RetrainConfig:
    """How a network is retrained; a retraining's config.yaml, beside the network."""

    data: str = setting("digits", help=DATA_HELP, metavar=DATA_METAVAR, parse=with_absolute_path)
    skip_unreadable: bool = skip_unreadable_setting()
    init: str = setting(
        "kaiming-normal",
        help="Initial weights: kaiming-normal, kaiming-uniform, supernet, or a model's file",
        group=_START,
        metavar="NAME",
        parse=with_absolute_path,
    )
    dropout: float = setting(
        0.0, help="Dropout probability of the classifier's inputs", group="Training", minimum=0, below=1
    )
    eval_images: int = setting(
        10_000,
        help="Images of search-val, after every epoch, and of the training split, at the end, on which the accuracy is "
        "measured, at most",
        group="Training",
        minimum=1,
    )
    netaug: NetAug | None = setting(
        None, help="Train inside wider networks (NetAug, Cai et al., ICLR 2022)", group=_NETAUG
    )
    distillation: Distillation | None = setting(None, help="", flag=None, aliases=("teaching",))
    recipe: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        check_settings(self)
        if self.distillation and self.distillation.teach_augmented and not self.netaug:
            raise InputError("teach_augmented has no effect without NetAug; add --netaug, or remove it")

    @classmethod
    def for_task(cls, task: str) -> "RetrainConfig":
        """Return the defaults for a task, "classify" or "detect". Raises InputError."""
        return _for_task(_RETRAIN_DEFAULTS, task)

    @classmethod
    def variants(cls) -> dict[str, "RetrainConfig"]:
        """Return the defaults that --help and the docs show, by case."""
        plain = _RETRAIN_DEFAULTS["classify"]
        return {
            "classification": plain,
            "detection": _RETRAIN_DEFAULTS["detect"],
            "with --netaug": plain.with_netaug(NetAug()),
        }

    def with_netaug(self, netaug: NetAug) -> "RetrainConfig":
        """Return the configuration with NetAug, and with the initial weights that suit it."""
        return replace(self, netaug=netaug, init="kaiming-uniform")


_SUPERNET_DEFAULTS = {
    "classify": SupernetConfig(),
    "detect": SupernetConfig(
        space="detect",
        data="scattered-digits",
        num_random_subnets=1,
        distillation=0.0,
        recipe=Recipe(epochs=8, label_smoothing=0.0, max_grad_norm=1.0),
    ),
}
_RETRAIN_DEFAULTS = {
    "classify": RetrainConfig(),
    "detect": RetrainConfig(data="scattered-digits", recipe=Recipe(epochs=16, label_smoothing=0.0, max_grad_norm=1.0)),
}


def _for_task(defaults: Mapping[str, Config], task: str) -> Config:
    if task not in defaults:
        raise unknown("task", task, defaults)
    return defaults[task]
