"""Arguments of functions for Python programs, as the commands take them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..arch.arch import Arch
from ..experiment.metric_names import TASK_METRICS
from ..experiment.recipes import RecipeFile, load_recipe
from ..experiment.space_file import CUSTOM
from ..utils.errors import InputError
from ..utils.overrides import Overrides
from .program_model import TrainedModel
from .program_run import Run

_NAMELESS = ("<lambda>", "partial")  # what Python calls functions that have no name
Limit = str | int | None  # "50M" or 50_000_000; "256KB" or bytes


def path_of(network: Run | TrainedModel | Arch | Path | str | None) -> str | None:
    """Return a network as the command takes it; None for an arch, which `recipe_of` has."""
    if isinstance(network, Run):
        return str(network.folder)
    if isinstance(network, TrainedModel):
        return str(network.path)
    return None if network is None or isinstance(network, Arch) else str(network)


def recipe_of(recipe: str | Path | None, network: Run | Arch | Path | str | None) -> RecipeFile | None:
    """Return the recipe that is named, its network replaced by an arch of the program; or one of an arch alone."""
    named = load_recipe(str(recipe)) if recipe else None
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


def loss_name(function: Callable[..., Any] | None, settings: Mapping[str, Any]) -> str | None:
    """Return the name of a program's loss. Raises InputError if settings are named that have no effect beside it."""
    name = name_of(function, "loss")
    if name and settings.get("label_smoothing"):
        raise InputError(f"label_smoothing is of the cross entropy, but the loss is {name}; remove it, or smooth there")
    return name


def limit_texts(**limits: Limit) -> dict[str, str | None]:
    """Return limits by name as the command takes them."""
    return {name: None if limit is None else str(limit) for name, limit in limits.items()}


def without_none(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that have values, paths as text: None is the default."""
    named = {}
    for name, value in settings.items():
        if value is not None:
            named[name] = str(value) if isinstance(value, Path) else value
    return named
