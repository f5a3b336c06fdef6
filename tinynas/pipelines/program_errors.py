"""Errors of functions for Python programs: they name keyword arguments where those of commands name flags."""

import re
from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import ParamSpec, TypeVar

from ..experiment.config import RetrainConfig, SupernetConfig
from ..experiment.front_settings import FrontSettings
from ..experiment.plans import ExportPlan
from ..experiment.search_settings import SearchSettings
from ..utils.arguments import check_arguments
from ..utils.errors import TinyNASError
from ..utils.settings import settings_of

P = ParamSpec("P")
T = TypeVar("T")
_FLAG = re.compile(r"--(no-)?([a-z][a-z0-9-]*[a-z0-9])")
_OWN = {  # flags of commands that are no settings, and the keyword arguments that they are in Python
    "run": "run",
    "resume": "resume=True",
    "name": "name",
    "task": "task",
    "device": "device",
    "from": "source",
    "recipe": "recipe",
    "flops": "flops",
    "params": "params",
    "sram": "sram",
    "flash": "flash",
    "latency": "latency",
    "limit": "limits",
    "out": "out",
    "cost-table": "costs` or `cost_tables",  # in backticks each
}


def keywords_in_errors() -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator of functions for programs, which replaces flags in errors by keywords: --device by `device`.

    Arguments that the function lacks or does not know are errors of one line, too.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def called(*args: P.args, **named: P.kwargs) -> T:
            try:
                check_arguments(function, function.__name__, args, named)
                return function(*args, **named)
            except TinyNASError as error:
                error.args = (with_keywords(str(error)),)
                raise

        return called

    return decorate


def with_keywords(message: str) -> str:
    """Return a command's message with keyword arguments in place of flags.

    Whole commands, in backticks, and flags that are no keyword arguments stay as they are.

    Example:
        >>> with_keywords("a smaller --batch-size, or --resume; not --no-int8 or `tinynas search --resume`")
        'a smaller `batch_size`, or `resume=True`; not `int8=False` or `tinynas search --resume`'
    """
    parts = message.split("`")  # every second part is in backticks
    parts[::2] = [_FLAG.sub(_keyword, part) for part in parts[::2]]
    return "`".join(parts)


def _keyword(flag: re.Match[str]) -> str:
    """Return the keyword argument of a flag in backticks; the flag if it has none."""
    is_negated, name = flag.groups()
    keyword = _keywords().get(name)
    if keyword is None:
        return flag[0]
    return f"`{keyword.replace('=True', '=False') if is_negated else keyword}`"


@cache
def _keywords() -> Mapping[str, str]:
    """Return the keyword arguments of flags; a switch's turns it on."""
    keywords = {}
    for config in (SearchSettings, SupernetConfig, RetrainConfig, ExportPlan, FrontSettings):
        for setting in settings_of(config):
            if setting.flag:
                keywords[setting.flag] = f"{setting.name}=True" if setting.type is bool else setting.name
    return keywords | _OWN
