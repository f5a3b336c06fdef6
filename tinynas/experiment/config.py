"""Configurations of a supernet's training and of a retraining: all settings, and their defaults by task."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from ..training.recipe import Recipe
from ..utils.errors import InputError, unknown
from ..utils.paths import absolute_path, with_absolute_path
from ..utils.settings import check_settings, setting
from .distillation_settings import Distillation
from .netaug_settings import NETAUG, NetAug

Config = TypeVar("Config")
DATA_HELP = (
    "Data set: digits, mnist-5k, elpv, fashion-mnist, cifar10, cifar100, food101, flowers102, pets, cars, or "
    "imagefolder:PATH with train/ and val/; for detection scattered-digits, scattered-fashion, yolo:PATH, voc:PATH or "
    "coco:PATH"
)
DATA_METAVAR = "NAME[:PATH]"
SKIP_UNREADABLE_HELP = "Leave out images that cannot be read, instead of stopping"
KEPT_WEIGHTS = ("last", "best")
AUTO_SETTINGS: dict[str, Any] = {  # of the recipe, by `--recipe auto`, for classifiers of small images
    "augmentation": "light",
    "label_smoothing": 0.0,
    "weight_decay": 1e-3,
}
OF_SUPERNET = (  # settings that have no effect where networks are trained one by one
    "num_random_subnets",
    "size_balanced_sampling",
    "distillation",
    "largest_warmup_epochs",
    "progressive_shrinking",
    "narrow",
    "init",
)
_SUPERNET, _START = "Supernet", "Initial weights"


def skip_unreadable_setting() -> Any:
    """Return the field that says whether unreadable images are left out."""
    return setting(False, help=SKIP_UNREADABLE_HELP)


@dataclass(frozen=True, kw_only=True)
class SupernetConfig:
    """How a run's supernet is trained, or each of its networks, and on what; a run's config.yaml."""

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
    narrow: bool = setting(
        False,
        help="Leave out the largest options of the space that networks near the limits hardly have; the supernet "
        "trains faster, but serves these limits only",
        group=_SUPERNET,
    )
    init: str | None = setting(
        None,
        help="Start from the weights of a trained or imported model, as far as those of the largest network overlap: "
        "leading channels, centres of kernels",
        group=_SUPERNET,
        metavar="MODEL",
        default_text="fresh weights",
        parse=absolute_path,
    )
    recipe: Recipe = field(default_factory=partial(Recipe, epochs=6, max_grad_norm=1.0))

    def __post_init__(self) -> None:
        check_settings(self)
        if self.largest_warmup_epochs >= self.recipe.epochs:
            raise InputError(
                f"--largest-warmup-epochs is {self.largest_warmup_epochs}, but must be below --epochs, which is "
                f"{self.recipe.epochs}"
            )

    @classmethod
    def for_task(cls, task: str, *, with_supernet: bool = True) -> "SupernetConfig":
        """Return the defaults for a task, "classify" or "detect"; without a supernet the recipe is a retraining's.

        Raises:
            InputError: There is no such task.
        """
        config = _for_task(_SUPERNET_DEFAULTS, task)
        return config if with_supernet else replace(config, recipe=_for_task(_RETRAIN_DEFAULTS, task).recipe)

    @classmethod
    def variants(cls) -> dict[str, "SupernetConfig"]:
        """Return the defaults that --help and the docs show, by case."""
        trained = cls.for_task("classify", with_supernet=False)
        return {
            "classification": _SUPERNET_DEFAULTS["classify"],
            "detection": _SUPERNET_DEFAULTS["detect"],
            "--evaluate train, small images": replace(trained, recipe=replace(trained.recipe, **AUTO_SETTINGS)),
        }

    def to_dict(self, *, with_supernet: bool = True) -> dict[str, Any]:
        """Return the content of a config.yaml; of a run without a supernet, without the settings of one."""
        plain = asdict(self)
        if not with_supernet:
            for name in OF_SUPERNET:
                del plain[name]
        return plain

    def fixed_choices(self, epoch: int) -> tuple[str, ...]:
        """Return the kinds of choices that are not yet elastic in an epoch, counted from 0.

        Progressive shrinking (Cai et al., ICLR 2020, section 3.3); each kind takes an equal part of the epochs.
        """
        if not self.progressive_shrinking:
            return ()
        kinds = ("kernel", "depth", "expand", "width")
        part = len(kinds) * (epoch - self.largest_warmup_epochs) // (self.recipe.epochs - self.largest_warmup_epochs)
        return kinds[part + 1 :]


@dataclass(frozen=True, kw_only=True)
class RetrainConfig:
    """How a network is retrained; a retraining's config.yaml, beside the network."""

    data: str = setting("digits", help=DATA_HELP, metavar=DATA_METAVAR, parse=with_absolute_path)
    skip_unreadable: bool = skip_unreadable_setting()
    init: str = setting(
        "kaiming-normal",
        help="Initial weights: kaiming-normal, kaiming-uniform, supernet, a model's file, or hf:USER/REPO",
        group=_START,
        metavar="NAME",
        parse=with_absolute_path,
    )
    residual_gain: float = setting(
        0.0, help="Initial scale of the last norm of blocks with a shortcut", group=_START, minimum=0
    )
    classifier_std: float | None = setting(
        None,
        help="Standard deviation of a classifier's initial weights",
        group=_START,
        default_text="1 / sqrt(inputs)",
        above=0,
    )
    dropout: float = setting(
        0.0, help="Dropout probability of the classifier's inputs", group="Training", minimum=0, below=1
    )
    train_on_all: bool = setting(
        False,
        help="Train on the images of search-val too; no accuracy on search-val is then measured",
        group="Training",
    )
    keep: str = setting(
        "last",
        help="Weights that are kept: last, or best, those of the epoch with the highest accuracy on search-val",
        group="Training",
        metavar="WEIGHTS",
        choices=KEPT_WEIGHTS,
    )
    ema: float = setting(
        0.0,
        help="Decay of a moving average of the weights, updated after every step, which is evaluated and kept in their "
        "place; 0: none",
        group="Training",
        minimum=0,
        below=1,
    )
    recalibration_images: int = setting(
        500,
        help="Training images on which batch-norm statistics are estimated anew before every evaluation; 0: those of "
        "training are kept",
        group="Training",
        minimum=0,
    )
    augment_recalibration: bool = setting(
        False, help="Augment the images of recalibration, always in the same way", group="Training"
    )
    eval_images: int = setting(
        10_000,
        help="Images of search-val, after every epoch, and of the training split, at the end, on which the accuracy is "
        "measured, at most",
        group="Training",
        minimum=1,
    )
    loss: str | None = setting(
        None, help="Name of a program's function that is the loss on labels, instead of cross entropy", flag=None
    )
    netaug: NetAug | None = setting(
        None, help="Train inside wider networks (NetAug, Cai et al., ICLR 2022)", group=NETAUG
    )
    distillation: Distillation | None = setting(None, help="", flag=None, aliases=("teaching",))
    recipe: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        check_settings(self)
        if self.distillation and self.distillation.teach_augmented and not self.netaug:
            raise InputError("teach_augmented has no effect without NetAug; add --netaug, or remove it")
        if self.loss and self.recipe.class_weights != "none":
            raise InputError(
                f"class_weights is of the cross entropy, but the loss is the program's {self.loss}; remove it, or "
                "weigh the classes there"
            )
        if self.train_on_all and self.keep == "best":
            raise InputError(
                "train_on_all leaves no search-val to choose the best weights by; keep the last, or remove it"
            )

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
            "recipe auto, small images": replace(plain, recipe=replace(plain.recipe, **AUTO_SETTINGS)),
        }


_SUPERNET_DEFAULTS = {
    "classify": SupernetConfig(),
    "detect": SupernetConfig(
        space="detect",
        data="scattered-digits",
        num_random_subnets=1,
        distillation=0.0,
        recipe=Recipe(epochs=8, label_smoothing=0.0, max_grad_norm=10.0),
    ),
}
_RETRAIN_DEFAULTS = {
    "classify": RetrainConfig(),
    "detect": RetrainConfig(
        data="scattered-digits", ema=0.998, recipe=Recipe(epochs=24, lr=0.2, label_smoothing=0.0, max_grad_norm=10.0)
    ),
}


def _for_task(defaults: Mapping[str, Config], task: str) -> Config:
    if task not in defaults:
        raise unknown("task", task, defaults)
    return defaults[task]
