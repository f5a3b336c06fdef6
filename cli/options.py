"""Options of commands that are not settings; those that are come from `settings_options.py`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tinynas.experiment.config import DATA_HELP, DATA_METAVAR, SKIP_UNREADABLE_HELP
from tinynas.utils.machine import set_loader_workers


def option(flag: str, *, panel: str | None = None, help: str, **more: Any) -> Any:
    """Return an option whose default is not shown, in a panel of --help."""
    return typer.Option(flag, rich_help_panel=panel, help=help, show_default=False, **more)


AsJson = Annotated[bool, option("--json", help="Print one JSON document on stdout; progress goes to stderr.")]
ModelFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help="A model.safetensors, its folder, or hf:USER/REPO. Default: the newest.",
    ),
]
TaskName = Annotated[
    str | None,
    option("--task", metavar="classify|detect", help="Task of the networks. Default: the run's, or classify."),
]
RunFolder = Annotated[Path | None, option("--run", help="Run folder. Default: a new one in runs/.")]
RunFolders = Annotated[list[Path] | None, typer.Argument(metavar="RUN...", help="Run folders. Default: the newest.")]
DataName = Annotated[str | None, option("--data", metavar=DATA_METAVAR, help=f"{DATA_HELP}. Default: the model's.")]
SkipUnreadable = Annotated[bool, option("--skip-unreadable", help=f"{SKIP_UNREADABLE_HELP}.")]
ConfigFile = Annotated[
    Path | None,
    option(
        "--config",
        metavar="FILE.yaml",
        help="File of settings, e.g. a run's or retraining's config.yaml, without its network. Options override it.",
    ),
]
RecipeName = Annotated[
    str,
    option(
        "--recipe",
        metavar="auto|NAME|FILE.yaml",
        help="auto, the default: settings that suit small networks on small images, for those; defaults: those "
        "of this page; a published training, e.g. imagenet-netaug-mcunet, or a file like it: settings, as --config has "
        "them, and the network to train if no other is named. --config and options override all of them.",
    ),
]
DryRun = Annotated[
    bool,
    option(
        "--dry-run",
        help="Print every setting as it is resolved, beside the value of a recipe's authors; nothing is trained or "
        "written.",
    ),
]

Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="What computes: auto, a GPU of CUDA if there is one; cpu, cuda, cuda:N or mps.",
    ),
]


def _set_loader_workers(count: int | None) -> None:
    if count is not None:
        set_loader_workers(count)


LoaderWorkers = Annotated[
    int | None,
    option(
        "--loader-workers",
        metavar="N",
        min=0,
        callback=_set_loader_workers,
        help="Processes that load image files; 0: the command does. Default: its share of the cores, at most 16.",
    ),
]

Target = Annotated[
    str | None,
    typer.Argument(metavar="[RUN|ARCH.yaml|NETWORK]", help="A run's best network, or any. Default: the newest run's."),
]
RetrainingName = Annotated[
    str | None, option("--name", help="Name of the retraining. Default: by its settings, e.g. plain or netaug.")
]
Source = Annotated[
    Path | None,
    option(
        "--from",
        metavar="MODEL",
        panel="Initial weights",
        help="Train a trained model further, a file, folder or hf:USER/REPO, on its data set or on another one.",
    ),
]
ResumeSearch = Annotated[bool, option("--resume", help="Resume an interrupted search: that of --run, or the newest.")]
ResumeRetraining = Annotated[
    bool, option("--resume", help="Resume an interrupted retraining: that of --name, or the newest.")
]
Cascade = Annotated[
    tuple[str, str] | None,
    option(
        "--cascade",
        metavar="TINY BIG",
        panel="Early exits",
        help="No side heads: a small model in front of a larger one, or of its run's largest network (BIG: supernet).",
    ),
]
OutFolder = Annotated[Path | None, option("--out", help="Folder to write to. Default: beside the model.")]

_LIMITS = "Limits"
Flops = Annotated[
    str | None,
    option(
        "--flops",
        metavar="[LOW:]HIGH",
        panel=_LIMITS,
        help="Multiply-accumulates, e.g. 50M; with --pareto also a range.",
    ),
]
Params = Annotated[str | None, option("--params", panel=_LIMITS, help="Parameters, e.g. 500K.")]
Sram = Annotated[
    str | None,
    option("--sram", panel=_LIMITS, help="Memory that an inference takes on the target, e.g. 256KB."),
]
Flash = Annotated[str | None, option("--flash", panel=_LIMITS, help="Memory of the network on the target, e.g. 1MB.")]
Latency = Annotated[
    str | None,
    option("--latency", panel=_LIMITS, help="Time of one inference, e.g. 5ms, by the target or --latency-table."),
]

RetrainLatency = Annotated[
    str | None, option("--latency", panel=_LIMITS, help="Time of one inference, if the search knew it, e.g. 5ms.")
]
OwnLimits = Annotated[
    list[str] | None,
    option(
        "--limit",
        metavar="NAME=VALUE",
        panel=_LIMITS,
        help="Limit of a cost of your own, e.g. energy=3.5, by --cost-table; may be repeated.",
    ),
]
CostAxis = Annotated[
    str | None,
    option(
        "--x",
        metavar="COST[,COST]",
        help="Cost of the front, or two: macs, params, sram, flash, latency or one of your own. Default: those of the "
        "searches, if they are the same, else macs.",
    ),
]
