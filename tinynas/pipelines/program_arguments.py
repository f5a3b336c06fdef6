"""Arguments of functions for Python programs, as the commands take them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..arch.arch import Arch
from ..arch.budget import OwnLimits
from ..experiment.metric_names import TASK_METRICS
from ..experiment.recipes import RecipeFile, named_recipe
from ..experiment.search_settings import WAYS
from ..experiment.space_file import CUSTOM
from ..experiment.trackers import check_trackers
from ..study.own_evaluation import Evaluate
from ..utils.errors import InputError
from ..utils.overrides import Overrides
from .program_model import TrainedModel
from .program_run import Run

T = TypeVar("T")
_KEYWORD = Parameter.KEYWORD_ONLY
_NAMELESS = ("<lambda>", "partial")  # what Python calls functions that have no name
Limit = str | float | None  # "50M" or 50_000_000; "256KB" or bytes


def tracker_names(track: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of trackers, of which a program names one or several.

    Raises:
        InputError: One is unknown or not installed.
    """
    names = (track,) if isinstance(track, str) else tuple(track)
    check_trackers(names)
    return names


def path_of(network: Run | TrainedModel | Arch | Path | str | None) -> str | None:
    """Return a network as the command takes it; None for an arch, which `recipe_of` has."""
    if isinstance(network, Run):
        return str(network.folder)
    if isinstance(network, TrainedModel):
        return str(network.path)
    return None if network is None or isinstance(network, Arch) else str(network)


def recipe_of(recipe: str | Path, network: Run | Arch | Path | str | None) -> RecipeFile | None:
    """Return the recipe that is named, its network replaced by an arch of the program; or one of an arch alone."""
    named = named_recipe(str(recipe))
    if not isinstance(network, Arch):
        return named
    return replace(named, arch=network) if named else RecipeFile(name=CUSTOM, arch=network, overrides=Overrides())


def name_of(function: Callable[..., Any] | None, argument: str) -> str | None:
    """Return the name of a program's function, by which files know it.

    Raises:
        InputError: It cannot be called, has no name of its own, or that of a metric of tinynas.
    """
    if function is None:
        return None
    if not callable(function):
        raise InputError(f"{argument} is of the type {type(function).__name__}; pass a function")
    name = str(getattr(function, "__name__", type(function).__name__))
    if name in _NAMELESS:
        kind = name.strip("<>")
        raise InputError(f"{argument} is a {kind}, which has no name for files; pass a function made by `def`")
    if name in TASK_METRICS:
        raise InputError(f"{argument} is a function called {name}, which is a metric of tinynas; rename it")
    return name


def own_evaluation(evaluate: Evaluate | str | None) -> tuple[Evaluate | None, str | None]:
    """Return what a program gave as `evaluate`: the function, None if it is a name; and what the settings call it.

    Raises:
        InputError: It is neither a way to evaluate networks nor a function, or the function has the name of a way.
    """
    if isinstance(evaluate, str):
        if evaluate not in WAYS:
            raise InputError(f"evaluate is {evaluate!r}; pass a function, or one of {', '.join(map(repr, WAYS))}")
        return None, evaluate
    name = name_of(evaluate, "evaluate")
    if name in WAYS:
        raise InputError(f"evaluate is a function called {name}, which is a way to evaluate networks; rename it")
    return evaluate, name


def loss_name(function: Callable[..., Any] | None, settings: Mapping[str, Any]) -> str | None:
    """Return the name of a program's loss. Raises InputError if settings are named that have no effect beside it."""
    name = name_of(function, "loss")
    if name and settings.get("label_smoothing"):
        raise InputError(f"label_smoothing is of the cross entropy, but the loss is {name}; remove it, or smooth there")
    return name


def limit_texts(**limits: Limit) -> dict[str, str | None]:
    """Return limits by name as the command takes them."""
    return {name: None if limit is None else str(limit) for name, limit in limits.items()}


def by_name(argument: str, value: Mapping[str, T] | None, example: str) -> Mapping[str, T]:
    """Return what a program gave by name, nothing for None. Raises InputError if it is no mapping."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InputError(
            f"{argument} is of the type {type(value).__name__}; pass values by name: {argument}={{{example}}}"
        )
    return value


def own_limits(limits: OwnLimits | None) -> OwnLimits:
    """Return limits of costs of the program's own, by name, nothing for None. Raises InputError if it is no mapping."""
    return by_name("limits", limits, '"energy": 3.0')


def without_none(named: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments that have values: None is the default."""
    return {name: value for name, value in named.items() if value is not None}


def read_settings(function: Callable[..., Any], named: Mapping[str, Any], *configs: Any) -> Overrides:
    """Return the settings among keyword arguments.

    Args:
        function: The function that has them. An unknown one may be meant to be any of its arguments.
        named: Values by name.
        *configs: Configuration classes that declare the settings.

    Raises:
        InputError: A keyword argument is unknown, or its value is not valid.
    """
    values = {name: _plain(value) for name, value in named.items()}
    if values.get("pareto") in ("", []):
        raise InputError("pareto names no cost; name one or two, like pareto='sram,macs', or leave it out")
    own = [name for name, parameter in signature(function).parameters.items() if parameter.kind is _KEYWORD]
    return Overrides.read(values, *configs, where=f"{function.__name__}()", others=own)


def _plain(value: Any) -> Any:
    """Return a value as settings have it: a path as text, a number of NumPy as one of Python, a tuple as a list."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
