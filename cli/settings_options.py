"""Options of commands that set settings: generated from configuration classes."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import Annotated, Any, get_origin

from typer.core import TyperCommand

from tinynas.experiment.search_settings import SearchSettings
from tinynas.utils.overrides import Overrides
from tinynas.utils.schema import without_none
from tinynas.utils.settings import Setting, SettingRow, rows

from .options import option

Command = Callable[..., None]


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
        for declared in options:
            value = arguments.pop(declared.parameter)
            if value is not None and value != []:
                named[declared.setting.path] = not value if declared.negates else value
        command(overrides=Overrides.read(named, *configs, where="the options"), **arguments)

    signature = inspect.signature(command)
    own = list(signature.parameters.values())
    place = list(signature.parameters).index("overrides")
    merged = own[:place] + [declared.signature() for declared in options] + own[place + 1 :]
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
        declared = option(
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
            annotation=Annotated[(bool if self.negates else _option_type(self.setting)) | None, declared],
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
