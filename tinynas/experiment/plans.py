"""Plans: what a command does, all resolved. `pipelines/` carries them out."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..arch.arch import Arch
from ..arch.budget import Budget
from ..arch.targets import DEFAULT_TARGET, TARGETS, Target, find_target
from ..utils.errors import InputError
from ..utils.settings import check_settings, setting
from ..utils.units import parse_count
from .config import (
    DATA_HELP,
    DATA_METAVAR,
    RetrainConfig,
    skip_unreadable_setting,
)
from .retrain_folder import RetrainFolder
from .run_folder import RunFolder
from .trackers import check_trackers

FORMATS = ("onnx", "tflite", "firmware")
MODELS_DATA = "the model's"


@dataclass(frozen=True, kw_only=True)
class RetrainPlan:
    """A retraining of one network, already fitted to its data set, into a folder of a run.

    Attributes:
        track: Names of the trackers that show it.
        loss: The function of a program that the configuration names, if it does; it is called with outputs and labels.
        notes: What there is to say about the configuration before it starts.
    """

    folder: Path
    arch: Arch
    config: RetrainConfig
    track: tuple[str, ...] = ()
    loss: Callable[..., Any] | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        check_trackers(self.track)

    @property
    def run(self) -> Path:
        """The run's folder, which has a supernet if the network was searched in it."""
        return RetrainFolder(self.folder).run

    @property
    def is_in_run(self) -> bool:
        """Whether the folder is where a run has its retrainings."""
        return RunFolder(self.run).retraining(self.folder.name).path == self.folder

    @property
    def own_folders(self) -> tuple[Path, ...]:
        """The folders that may have been created for this retraining, the innermost first."""
        return (self.folder, self.folder.parent, self.run) if self.is_in_run else (self.folder,)


def _batch(text: str) -> int | None:
    return None if text == "dynamic" else parse_count(text)


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """An export of a trained model to a folder; `limits` are those of the search that found the network."""

    model: Path
    out: Path
    target: str | None = setting(
        None,
        help="What runs the files, see `tinynas targets`",
        metavar="NAME",
        choices=tuple(TARGETS),
        default_text="the one that the network was searched for, or tflm",
    )
    to: str | None = setting(
        None,
        help="File format: onnx; tflite, which needs the extra of that name; firmware: tflite, and a folder of sources "
        "that run the int8 file on a microcontroller",
        metavar="FORMAT",
        choices=FORMATS,
        default_text="the target's",
    )
    int8: bool = setting(True, help="Write the int8 file as well")
    batch: int | None = setting(
        1, help="Images in a batch; dynamic: any number", metavar="N|dynamic", minimum=1, parse=_batch
    )
    opset: int | None = setting(None, help="ONNX operator set", default_text="torch's")
    calibration: int = setting(500, help="Training images that determine the ranges of int8", minimum=1)
    qat: int = setting(
        0,
        help="Passes over the training images in which the int8 file's weights are fine-tuned by quantization-aware "
        "training (epochs)",
        minimum=0,
    )
    margin: float = setting(
        2.0, help="Loss of accuracy by int8 above which a warning is shown", unit="percentage points"
    )
    data: str | None = setting(None, help=DATA_HELP, metavar=DATA_METAVAR, default_text=MODELS_DATA)
    skip_unreadable: bool = skip_unreadable_setting()
    limits: Budget = field(default_factory=Budget)
    searched_for: str | None = None

    def __post_init__(self) -> None:
        check_settings(self)
        if self.to == "firmware" and not self.int8:
            raise InputError("firmware runs the int8 file, but int8 is off; leave out --no-int8, or export to tflite")
        if self.to not in (None, "onnx") and (self.opset is not None or self.batch != 1):
            raise InputError(
                "TFLite files have no operator set and a batch of 1; remove --opset and --batch, or add --to onnx"
            )
        if self.qat and (self.to == "onnx" or not self.int8):
            raise InputError(
                f"qat is {self.qat}, but only an int8 TFLite file is fine-tuned; export to tflite, without --no-int8"
            )

    def resolved(self, searched_for: str | None, limits: Budget) -> "ExportPlan":
        """Return the plan with a target and a format.

        Args:
            searched_for: Name of the target that the network was searched for, if it was.
            limits: Limits of that search.

        Raises:
            InputError: The target does not take files of the format.
        """
        target = find_target(self.target) if self.target else _target_for(self.to, searched_for)
        to = self.to or target.formats[0]
        if to not in target.formats:
            raise InputError(
                f"{target.name} takes files of the format {' or '.join(target.formats)}, not {to}; remove --to, or "
                "choose another --target"
            )
        return replace(self, target=target.name, to=to, searched_for=searched_for, limits=limits)

    @property
    def runtime(self) -> Target:
        """The target of a resolved plan."""
        assert self.target is not None
        return find_target(self.target)


def _target_for(to: str | None, searched_for: str | None) -> Target:
    """Return the target that the network was searched for, the default, or another one: the first with the format."""
    for name in (searched_for, DEFAULT_TARGET, *TARGETS):
        if name and (to is None or to in TARGETS[name].formats):
            return TARGETS[name]
    raise AssertionError(f"no target takes {to}")
