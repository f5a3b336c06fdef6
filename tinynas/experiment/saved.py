"""Settings in files: those that runs have saved, and those that a user wrote."""

from pathlib import Path
from typing import Any, TypeVar

from ..arch.arch import Arch
from ..arch.budget import Budget
from ..utils.errors import FileError, InputError
from ..utils.io import read_text
from ..utils.overrides import Overrides
from ..utils.schema import check_mapping, from_mapping, read_yaml
from .config import RetrainConfig, SearchSettings, SupernetConfig
from .plans import RetrainPlan
from .run_folder import read_config

Config = TypeVar("Config")


def read_config_file(path: Path, *configs: Any) -> Overrides:
    """Read a YAML file of settings, or a run's or a retraining's config.yaml; a retraining's network is left out.

    Args:
        path: The file.
        *configs: Configuration classes that declare the settings.

    Raises:
        FileError: The file is missing or not YAML.
        InputError: A key is unknown, or a value has another type.
    """
    plain = dict(check_mapping(read_yaml(read_text(path), str(path)), str(path)))
    plain.pop("arch", None)
    return Overrides.read(plain, *configs, where=str(path))


def read_retraining(folder: Path) -> RetrainPlan:
    """Read the plan of a retraining from its config.yaml. Raises FileError."""
    path = folder / "config.yaml"
    plain = read_config(path)
    try:
        arch = Arch.from_dict(plain.pop("arch", None))
    except InputError as error:
        raise FileError(f"{path} is damaged: {error}") from None
    return RetrainPlan(folder=folder, arch=arch, config=_settings_in(plain, RetrainConfig(), path))


def read_supernet_config(run: Path) -> SupernetConfig:
    """Read a run's config.yaml. Raises FileError."""
    path = run / "config.yaml"
    return _settings_in(read_config(path), SupernetConfig(), path)


def read_search_settings(run: Path) -> tuple[Budget, SearchSettings]:
    """Read the limits and settings of a run's newest search from its search.yaml. Raises FileError."""
    path = run / "search.yaml"
    plain = read_config(path)
    try:
        budget = from_mapping(Budget, plain.pop("limits", {}), f"limits in {path}")
    except InputError as error:
        raise FileError(f"{path} is damaged: {error}") from None
    return budget, _settings_in(plain, SearchSettings(), path)


def _settings_in(plain: dict[str, Any], default: Config, path: Path) -> Config:
    """Return the settings in a file that tinynas wrote, in place of defaults. Raises FileError."""
    try:
        return Overrides.read(plain, type(default), where=str(path)).apply(default)
    except InputError as error:
        raise FileError(f"{path} is damaged: {error}") from None
