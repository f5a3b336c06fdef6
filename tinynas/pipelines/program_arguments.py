"""Arguments of functions for Python programs, as the commands take them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..arch.arch import Arch
from ..experiment.recipes import RecipeFile, load_recipe
from ..experiment.space_file import CUSTOM
from ..utils.overrides import Overrides
from .program_model import TrainedModel
from .program_run import Run

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


def limit_texts(**limits: Limit) -> dict[str, str | None]:
    """Return limits by name as the command takes them."""
    return {name: None if limit is None else str(limit) for name, limit in limits.items()}


def without_none(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that have values: None is the default."""
    return {name: value for name, value in settings.items() if value is not None}
