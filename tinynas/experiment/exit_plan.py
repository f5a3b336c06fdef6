"""The plan of a network with early exits: settings, and what they exclude."""

from dataclasses import dataclass, fields
from pathlib import Path

from ..utils.errors import InputError
from ..utils.io import reserve_folder
from ..utils.settings import check_settings, setting
from ..utils.units import parse_count, parse_seconds
from .config import DATA_HELP, DATA_METAVAR, skip_unreadable_setting
from .early_exit_folder import CASCADE, SIDENET
from .plans import MODELS_DATA
from .retrain_folder import RetrainFolder

AUTO = "auto"
SUPERNET = "supernet"  # in place of a cascade's larger model: the largest network of the small one's run
EXIT_RULES = ("confidence", "entropy", "margin", "patience", "gate")
SHARED, PER_EXIT = "shared", "per-exit"  # kinds of thresholds
_EXITS = "Early exits"
_OF_SIDE_HEADS = ("taps", "hidden", "distillation", "temperature", "joint", "seed")


def _percent(text: str) -> float:
    """Read "90%" or "89.5". Raises InputError."""
    try:
        return float(text.removesuffix("%"))
    except ValueError:
        raise InputError(f"cannot read {text!r}: expected a percentage like 90% or 89.5") from None


@dataclass(frozen=True, kw_only=True)
class ExitPlan:
    """Early exits for a trained model: side heads, or the model `tiny` as a cascade's first network.

    By default the thresholds are the cheapest that keep the model's accuracy on search-val.
    """

    model: Path
    tiny: Path | None = None
    out: Path | None = None
    taps: tuple[str, ...] = setting(
        (AUTO,),
        help="Module whose output a side head reads, e.g. stages.1; may be repeated; auto: try every set of stages and "
        "keep the best",
        group=_EXITS,
        flag="tap",
        metavar="auto|MODULE",
    )
    hidden: int = setting(64, help="Features of a side head's hidden layer", group=_EXITS, minimum=1)
    distillation: float = setting(
        0.0,
        help="Weight of the model's own outputs in the side heads' targets; labels have the rest",
        group=_EXITS,
        minimum=0,
        maximum=1,
    )
    temperature: float = setting(
        1.0, help="Temperature that softens the model's outputs for --distillation", group=_EXITS, above=0
    )
    joint: int = setting(
        0,
        help="Epochs that train the model together with its exits, after the side heads: this changes its weights",
        group=_EXITS,
        metavar="EPOCHS",
        minimum=0,
    )
    rule: str = setting(
        EXIT_RULES[0],
        help="What tells that an exit is sure: confidence, entropy and margin read its probabilities, patience counts "
        "exits that agree, a gate is learnt on search-val",
        group=_EXITS,
        metavar="RULE",
        choices=EXIT_RULES,
    )
    thresholds: str = setting(
        SHARED,
        help="One threshold for all exits, or one for each, searched for on search-val",
        group=_EXITS,
        metavar="KIND",
        choices=(SHARED, PER_EXIT),
    )
    accuracy: float | None = setting(
        None,
        help="Choose the cheapest threshold with this accuracy on search-val",
        unit="percent",
        group=_EXITS,
        flag="target-accuracy",
        metavar="PERCENT",
        default_text="the model's own",
        minimum=0,
        maximum=100,
        parse=_percent,
    )
    macs: int | None = setting(
        None,
        help="Choose the most accurate threshold within this average of MACs",
        group=_EXITS,
        flag="target-flops",
        metavar="COUNT",
        parse=parse_count,
    )
    seconds: float | None = setting(
        None,
        help="Choose the most accurate threshold within this average time of an image, in PyTorch on this machine",
        group=_EXITS,
        flag="target-latency",
        metavar="TIME",
        parse=parse_seconds,
    )
    threshold: float | None = setting(
        None,
        help="Score from which an image exits early, from 0 to 1; above 1: never",
        group=_EXITS,
        minimum=0,
    )
    seed: int = setting(0, help="Seed of the side heads' weights and order of images", group=_EXITS, minimum=0)
    data: str | None = setting(None, help=DATA_HELP, metavar=DATA_METAVAR, default_text=MODELS_DATA)
    skip_unreadable: bool = skip_unreadable_setting()

    def __post_init__(self) -> None:
        check_settings(self)
        self._check_threshold()
        if AUTO in self.taps and len(self.taps) > 1:
            raise InputError(f"auto chooses all taps, but taps are {', '.join(self.taps)}; remove auto or the others")
        if self.temperature != 1 and not self.distillation > 0:
            raise InputError("temperature has no effect without distillation; add --distillation, or remove it")
        if self.tiny is None and str(self.model) == SUPERNET:
            raise InputError("supernet is a cascade's larger network; name the smaller one: --cascade MODEL supernet")
        if self.tiny is not None:
            self._check_no_side_heads()
        if self.out and RetrainFolder(self.out).model.exists():
            raise InputError(f"{self.out} is the folder of a model; choose another folder for its exits")

    def _check_threshold(self) -> None:
        goals: dict[str, object] = {"threshold": self.threshold, "target-accuracy": self.accuracy}
        goals |= {"target-flops": self.macs, "target-latency": self.seconds}
        named = [f"--{flag} {value}" for flag, value in goals.items() if value is not None]
        if len(named) > 1:
            raise InputError(f"only one option can choose the threshold, but there are {', '.join(named)}; keep one")

    def _check_no_side_heads(self) -> None:
        for declared in fields(self):
            value = getattr(self, declared.name)
            if declared.name in _OF_SIDE_HEADS and value != declared.default:
                raise InputError(f"a cascade has no side heads, but {declared.name} is {value!r}; remove it")

    @property
    def parent(self) -> Path:
        """The folder of the model, in which a new folder is created unless `out` is named."""
        return (self.tiny or self.model).parent

    def create_folder(self) -> Path:
        """Return the folder to write to: `out`, or a new one beside the model. Raises FileError."""
        return self.out or reserve_folder(self.parent / (CASCADE if self.tiny else SIDENET))
