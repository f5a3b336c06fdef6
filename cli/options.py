"""Options of commands: generated from the settings of configuration classes, and the few that are not settings."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any, get_origin

import typer
from typer.core import TyperCommand

from tinynas.experiment.config import DATA_HELP, DATA_METAVAR, SKIP_UNREADABLE_HELP
from tinynas.experiment.search_settings import SearchSettings
from tinynas.utils.machine import set_loader_workers
from tinynas.utils.overrides import Overrides
from tinynas.utils.schema import without_none
from tinynas.utils.settings import Setting, SettingRow, rows

Command = Callable[..., None]


def _option(flag: str, *, panel: str | None = None, help: str, **more: Any) -> Any:
    return typer.Option(flag, rich_help_panel=panel, help=help, show_default=False, **more)


AsJson = Annotated[bool, _option("--json", help="Print one JSON document on stdout; progress goes to stderr.")]
ModelFile = Annotated[
    Path | None,
    typer.Argument(metavar="MODEL", show_default=False, help="A model.safetensors or its folder. Default: the newest."),
]
TaskName = Annotated[
    str | None,
    _option("--task", metavar="classify|detect", help="Task of the networks. Default: the run's, or classify."),
]
RunFolder = Annotated[Path | None, _option("--run", help="Run folder. Default: a new one in runs/.")]
DataName = Annotated[str | None, _option("--data", metavar=DATA_METAVAR, help=f"{DATA_HELP}. Default: the model's.")]
SkipUnreadable = Annotated[bool, _option("--skip-unreadable", help=f"{SKIP_UNREADABLE_HELP}.")]
ConfigFile = Annotated[
    Path | None,
    _option(
        "--config",
        metavar="FILE.yaml",
        help="File of settings, e.g. a run's or retraining's config.yaml, without its network. Options override it.",
    ),
]
RecipeName = Annotated[
    str,
    _option(
        "--recipe",
        metavar="auto|NAME|FILE.yaml",
        help="auto, the default: settings that suit small networks on small images, for those; defaults: those "
        "of this page; a published training, e.g. imagenet-netaug-mcunet, or a file like it: settings, as --config has "
        "them, and the network to train if no other is named. --config and options override all of them.",
    ),
]
DryRun = Annotated[
    bool,
    _option(
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
    _option(
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
    str | None, _option("--name", help="Name of the retraining. Default: by its settings, e.g. plain or netaug.")
]
Source = Annotated[
    Path | None,
    _option(
        "--from",
        metavar="MODEL",
        panel="Initial weights",
        help="Train a trained model further, on its data set or on another one.",
    ),
]
ResumeSearch = Annotated[bool, _option("--resume", help="Resume an interrupted search: that of --run, or the newest.")]
ResumeRetraining = Annotated[
    bool, _option("--resume", help="Resume an interrupted retraining: that of --name, or the newest.")
]
Cascade = Annotated[
    tuple[str, str] | None,
    _option(
        "--cascade",
        metavar="TINY BIG",
        panel="Early exits",
        help="No side heads: a small model in front of a larger one, or of its run's largest network (BIG: supernet).",
    ),
]
OutFolder = Annotated[Path | None, _option("--out", help="Folder to write to. Default: beside the model.")]

_LIMITS = "Limits"
Flops = Annotated[
    str | None,
    _option(
        "--flops",
        metavar="[LOW:]HIGH",
        panel=_LIMITS,
        help="Multiply-accumulates, e.g. 50M; with --pareto also a range.",
    ),
]
Params = Annotated[str | None, _option("--params", panel=_LIMITS, help="Parameters, e.g. 500K.")]
Sram = Annotated[
    str | None,
    _option("--sram", panel=_LIMITS, help="Memory that an inference takes on the target, e.g. 256KB."),
]
Flash = Annotated[str | None, _option("--flash", panel=_LIMITS, help="Memory of the network on the target, e.g. 1MB.")]
Latency = Annotated[
    str | None,
    _option("--latency", panel=_LIMITS, help="Time of one inference, e.g. 5ms, by the target or --latency-table."),
]

RetrainLatency = Annotated[
    str | None, _option("--latency", panel=_LIMITS, help="Time of one inference, if the search knew it, e.g. 5ms.")
]
OwnLimits = Annotated[
    list[str] | None,
    _option(
        "--limit",
        metavar="NAME=VALUE",
        panel=_LIMITS,
        help="Limit of a cost of your own, e.g. energy=3.5, by --cost-table; may be repeated.",
    ),
]
CostAxis = Annotated[
    str | None,
    _option(
        "--x",
        metavar="COST[,COST]",
        help="Cost of the front, or two: macs, params, sram, flash, latency or one of your own. Default: those of the "
        "searches, if they are the same, else macs.",
    ),
]


class OptionalValues(TyperCommand):
    """A command in which some options need no value: without one they have the text that their settings imply."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, the implied texts inserted."""
        return super().parse_args(ctx, with_implied_values(args))


def with_implied_values(args: Sequence[str]) -> list[str]:
    """Return arguments with the implied text after every option that has one and stands without a value.

    Example:
        >>> with_implied_values(["--pareto", "--trials", "9"])
        ['--pareto', 'macs', '--trials', '9']
    """
    implied = {row.flag: row.setting.info.implied for row in rows(SearchSettings) if row.setting.info.implied}
    complete = []
    for number, arg in enumerate(args):
        complete.append(arg)
        is_alone = number + 1 == len(args) or args[number + 1].startswith("-")
        if arg in implied and is_alone:
            complete.append(implied[arg])
    return complete


def settings_options(
    *configs: Any, without: Sequence[str] = (), by_recipe: bool = False
) -> Callable[[Command], Command]:
    """Give a command an option for every setting of some configuration classes, in place of its `overrides`.

    The command receives the options that were used as one `Overrides`. Older names of settings become hidden options.

    Args:
        *configs: Configuration classes that declare the settings.
        without: Paths of settings that get no option.
        by_recipe: Whether defaults are those of a recipe, which --help then says.
    """
    return partial(_with_options, configs, without, by_recipe)


def _with_options(configs: tuple[Any, ...], without: Sequence[str], by_recipe: bool, command: Command) -> Command:
    options: list[_Option] = []
    for config in configs:
        for row in rows(config):
            if row.key not in without:
                options += _options_of(row, help_by_recipe(row) if by_recipe else help_text(row))

    @wraps(command)
    def run(**arguments: Any) -> None:
        named = {}
        for option in options:
            value = arguments.pop(option.parameter)
            if value is not None and value != []:
                named[option.setting.path] = not value if option.negates else value
        command(overrides=Overrides.read(named, *configs, where="the options"), **arguments)

    signature = inspect.signature(command)
    own = list(signature.parameters.values())
    place = list(signature.parameters).index("overrides")
    merged = own[:place] + [option.signature() for option in options] + own[place + 1 :]
    run.__signature__ = signature.replace(parameters=merged)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in merged}
    return run


@dataclass(frozen=True, kw_only=True)
class _Option:
    """An option that sets a setting."""

    setting: Setting
    parameter: str
    help: str
    hidden: bool
    negates: bool = False  # it turns the setting off

    def signature(self) -> inspect.Parameter:
        """Return the parameter that typer reads."""
        info = self.setting.info
        shown_flag = self.setting.flag if self.parameter == self.setting.name else self.parameter
        option = _option(
            "--" + str(shown_flag).replace("_", "-"),
            panel=info.group or None,
            help=self.help,
            hidden=self.hidden,
            metavar=None if self.negates else info.metavar or None,
        )
        return inspect.Parameter(
            self.parameter,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[(bool if self.negates else _option_type(self.setting)) | None, option],
        )


def _options_of(row: SettingRow, text: str) -> Iterator[_Option]:
    """Yield a setting's option, and the hidden ones of its older names; for true or false, with --no- as well.

    Of an option and its --no- form only that is shown which changes the default.
    """
    setting = row.setting
    for name in setting.names:
        is_alias = name != setting.name
        is_on = row.default == "on"
        yield _Option(setting=setting, parameter=name, help=text, hidden=is_alias or is_on)
        if _option_type(setting) is bool or setting.info.implied:
            yield _Option(
                setting=setting, parameter=f"no_{name}", help=text, hidden=is_alias or not is_on, negates=True
            )


def _option_type(setting: Setting) -> Any:
    """Return the type that typer reads: text where the setting has its own way of reading, a list for a tuple."""
    value_type = without_none(setting.type)
    if setting.info.parse:
        return str
    return list[str] if get_origin(value_type) is tuple else value_type


def help_text(row: SettingRow) -> str:
    """Return a setting's line in --help: "Images in a step (images). Default: 32; detection: 16."."""
    unit = f" ({row.unit})" if row.unit else ""
    defaults = [f"Default: {row.default}"] if row.default else []
    for case, value in row.variants.items():
        defaults.append(f"{case}: {value}")
    ending = f" {'; '.join(defaults)}." if defaults else ""
    return f"{row.help}{unit}.{ending}"


def help_by_recipe(row: SettingRow) -> str:
    """Return a setting's line in --help where a recipe decides; only detectors have none, whose default comes next."""
    default = row.variants.get("detection", row.default)
    return help_text(replace(row, default=f"of the recipe, else {default or 'none'}", variants={}))
