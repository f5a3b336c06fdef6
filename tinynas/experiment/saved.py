"""Settings in files: those that runs have saved, and those that a user wrote."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict
from pathlib import Path
from typing import Any, TypeVar

from ..arch.arch import Arch
from ..data.identity import DataIdentity
from ..utils.errors import FileError, InputError, file_error
from ..utils.io import from_json, read_json, read_text, to_json, write_json, write_yaml
from ..utils.overrides import Overrides
from ..utils.schema import check_mapping, read_yaml
from ..utils.settings import settings_of, with_current_keys
from .config import RetrainConfig, SupernetConfig
from .log import last_record
from .plans import RetrainPlan
from .recipes import NETWORK_KEYS
from .retrain_folder import RetrainFolder
from .run_folder import RunFolder

Config = TypeVar("Config")


def save_config(path: Path, config: Mapping[str, Any], *, advice: str = "choose another folder") -> None:
    """Write a config.yaml, or check that an existing one agrees with the settings.

    Settings that the file of an older version lacks are added: they have their defaults, with which that version
    trained. Older names of settings are replaced.

    Raises:
        FileError: The existing file has another value for a setting.
    """
    plain = from_json(to_json(config))
    written = read_config(path) if path.exists() else {}
    _check_config(path, written, plain, advice=advice)
    if written != plain:
        write_yaml(path, plain)


def check_retraining(
    plan: RetrainPlan, *, advice: str = "choose another --name for these retrainings, or delete the folder"
) -> None:
    """Check that the folder of a retraining, if anything was trained there, has the same settings.

    Args:
        plan: The retraining.
        advice: What the user can do if it has others.

    Raises:
        FileError: It has another value for a setting.
    """
    folder = RetrainFolder(plan.folder)
    if folder.is_trained():
        plain = from_json(to_json(_settings_of(plan)))
        _check_config(folder.config, read_config(folder.config), plain, advice=advice)


def _check_config(path: Path, written: Mapping[str, Any], plain: Mapping[str, Any], *, advice: str) -> None:
    """Check that the settings of a file are those that are requested; it may be empty, or lack newer ones.

    Raises:
        FileError: The file has another value for a setting.
    """
    existing = with_current_keys(with_current_keys(written, SupernetConfig), RetrainConfig)
    if written:
        of_run = "space" in plain  # that of a retraining has its network instead; both have an `init`
        _add_missing(existing, plain, SupernetConfig if of_run else RetrainConfig)
    for key, value, requested in _differences(existing, plain):
        raise FileError(
            f"{path.parent} has another configuration: {key} is {_shortened(value)} there, "
            f"{_shortened(requested)} here; {advice}"
        )


def _settings_of(plan: RetrainPlan) -> dict[str, Any]:
    """Return the content of a retraining's config.yaml."""
    return {"arch": plan.arch.to_dict(), **asdict(plan.config)}


def _add_missing(existing: dict[str, Any], requested: Mapping[str, Any], config_class: Any) -> None:
    """Add the defaults of the settings that are requested, but that a file's settings lack."""
    for declared in settings_of(config_class):
        section, _, name = declared.path.rpartition(".")
        there = existing.get(section) if section else existing
        here = requested.get(section) if section else requested
        if not isinstance(there, dict) or not isinstance(here, Mapping) or name in there or name not in here:
            continue
        if not declared.is_switch and declared.field_default is not MISSING:
            there[name] = from_json(to_json(declared.field_default))


def save_data(path: Path, name: str, identity: DataIdentity) -> None:
    """Write a data.json, or check that the data set is the one of an existing file.

    Args:
        path: The file.
        name: Name of the data set.
        identity: Its classes, images and labels.

    Raises:
        FileError: The data set has changed since the file was written, or the file is damaged.
    """
    if path.exists():
        check_data(path, name, identity)
    else:
        write_json(path, {"data": name, **identity.to_dict()})


def save_retraining(plan: RetrainPlan, identity: DataIdentity) -> None:
    """Write the configuration of a retraining and the identity of its data set.

    Raises:
        FileError: The folder holds a retraining with other settings.
    """
    folder = RetrainFolder(plan.folder)
    if not folder.is_trained():
        folder.discard_settings()
    save_config(folder.config, _settings_of(plan))
    save_data(folder.data, plan.config.data, identity)


def check_data(path: Path, name: str, identity: DataIdentity) -> None:
    """Check that a data set is the one of a data.json, if there is one and it is of a data set of this name.

    Raises:
        FileError: The data set has changed since the file was written, or the file is damaged.
    """
    if not path.exists():
        return
    advice = "restore it, or delete it to go on with the data set as it is now"
    plain = read_json(path, advice=advice)
    try:
        before, name_before = DataIdentity.from_dict(plain), plain.get("data")
    except InputError as error:
        raise file_error(path, "is damaged", error, advice) from None
    changes = before.changes(identity)
    if name_before == name and changes:
        raise FileError(
            f"the data set {name} has changed since {path.parent} was begun: {changes}; restore it, or begin a new run"
        )


def read_config(path: Path) -> dict[str, Any]:
    """Return the settings in a config.yaml, or in another YAML file of keys and values.

    Raises:
        FileError: The file is missing, is not YAML, or is not a mapping.
    """
    try:
        return dict(check_mapping(read_yaml(read_text(path), str(path)), str(path)))
    except InputError as error:
        raise FileError(str(error)) from None


def read_config_file(path: Path, *configs: Any) -> Overrides:
    """Read a YAML file of settings, a run's or a retraining's config.yaml, or a recipe; networks are left out.

    Args:
        path: The file.
        *configs: Configuration classes that declare the settings.

    Raises:
        FileError: The file is missing or not YAML.
        InputError: A key is unknown, or a value has another type.
    """
    plain = dict(check_mapping(read_yaml(read_text(path), str(path)), str(path)))
    for key in NETWORK_KEYS:
        plain.pop(key, None)
    return Overrides.read(plain, *configs, where=str(path))


def read_retraining(folder: RetrainFolder) -> RetrainPlan:
    """Read the plan of a retraining from its config.yaml. Raises FileError."""
    path = folder.config
    plain = read_config(path)
    try:
        arch = Arch.from_dict(plain.pop("arch", None))
    except InputError as error:
        raise file_error(path, "is damaged", error) from None
    return RetrainPlan(folder=folder.path, arch=arch, config=settings_in(plain, RetrainConfig(), path))


def read_supernet_config(run: Path) -> SupernetConfig:
    """Read a run's config.yaml. Raises FileError."""
    path = RunFolder(run).config
    return settings_in(read_config(path), SupernetConfig(), path)


def is_supernet_trained(run: Path) -> bool:
    """Return whether a run's supernet has been trained to its end, by its log. Raises FileError."""
    log = RunFolder(run).log
    return log.exists() and last_record(log).get("epoch") == read_supernet_config(run).recipe.epochs


def removed_supernet(run: Path) -> str:
    """Return what there is to say about a supernet that was trained, but whose checkpoint is gone."""
    return f"the supernet of {run} was removed, as `tinynas clean --supernet` does"


def settings_in(plain: dict[str, Any], default: Config, path: Path) -> Config:
    """Return the settings in a file that tinynas wrote, in place of defaults. Raises FileError."""
    try:
        return Overrides.read(plain, type(default), where=str(path)).apply(default)
    except InputError as error:
        raise file_error(path, "is damaged", error) from None


def _differences(
    existing: Mapping[str, Any], requested: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Yield the dotted key, the existing and the requested value of every existing setting that differs."""
    for key, value in existing.items():
        other = requested.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            yield from _differences(value, other, f"{prefix}{key}.")
        elif value != other:
            yield prefix + key, value, other


def _shortened(value: object) -> str:
    text = to_json(value)
    return text if len(text) <= 60 else text[:57] + "..."
