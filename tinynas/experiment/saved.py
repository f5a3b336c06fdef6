"""Settings in files: those that runs have saved, and those that a user wrote."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from ..arch.arch import Arch
from ..arch.budget import Budget
from ..arch.latency_table import LatencyTable
from ..arch.targets import COUNTS_ONLY
from ..data.identity import DataIdentity
from ..utils.errors import FileError, InputError
from ..utils.io import from_json, read_json, read_text, to_json, write_json, write_yaml
from ..utils.overrides import Overrides
from ..utils.schema import check_mapping, from_mapping, read_yaml
from ..utils.settings import settings_of, with_current_keys
from .config import RetrainConfig, SupernetConfig
from .plans import RetrainPlan
from .recipes import NETWORK_KEYS
from .run_folder import RetrainFolder, RunFolder
from .search_settings import SearchSettings

Config = TypeVar("Config")
LATENCY_DIGEST = "latency_table_digest"  # in search.yaml


@dataclass(frozen=True, kw_only=True)
class SavedSearch:
    """What search.yaml says of a search: limits, settings, and the digest of its latency table, if it had one."""

    budget: Budget = field(default_factory=Budget)
    settings: SearchSettings = field(default_factory=SearchSettings)
    latency_digest: str | None = None

    def settings_for(self, budget: Budget) -> SearchSettings:
        """Return the settings for a search within a budget: the latency table only if latency is limited."""
        return self.settings if budget.latency is not None else replace(self.settings, latency_table=None)

    def read_latency_table(self, settings: SearchSettings, budget: Budget) -> LatencyTable | None:
        """Read the latency table of settings, if they have one.

        Raises:
            FileError: It is not valid, or both searches limit latency and have different sources of it.
        """
        table = LatencyTable.read(Path(settings.latency_table)) if settings.latency_table else None
        digest = table.digest if table else None
        if None not in (budget.latency, self.budget.latency) and digest != self.latency_digest:
            raise FileError(
                f"the search to resume has the latencies of {_latency_source(self.latency_digest)}, these are of "
                f"{_latency_source(digest)}; restore the table, or search without --resume"
            )
        return table


def _latency_source(digest: str | None) -> str:
    return f"a table with digest {digest[:12]}" if digest else "this machine"


def save_config(path: Path, config: Mapping[str, Any]) -> None:
    """Write a config.yaml, or check that an existing one agrees with the settings.

    Settings that the file of an older version lacks are added: they have their defaults, with which that version
    trained. Older names of settings are replaced.

    Raises:
        FileError: The existing file has another value for a setting.
    """
    plain = from_json(to_json(config))
    written = read_config(path) if path.exists() else {}
    existing = with_current_keys(with_current_keys(written, SupernetConfig), RetrainConfig)
    if written:
        for config_class in (SupernetConfig, RetrainConfig):
            _add_missing(existing, plain, config_class)
    for key, value, requested in _differences(existing, plain):
        raise FileError(
            f"{path.parent} has another configuration: {key} is {_shortened(value)} there, "
            f"{_shortened(requested)} here; choose another folder"
        )
    if written != plain:
        write_yaml(path, plain)


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
    save_config(folder.config, {"arch": plan.arch.to_dict(), **asdict(plan.config)})
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
        raise FileError(f"{path} is damaged: {error}; {advice}") from None
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
        raise FileError(f"{path} is damaged: {error}") from None
    return RetrainPlan(folder=folder.path, arch=arch, config=_settings_in(plain, RetrainConfig(), path))


def read_supernet_config(run: Path) -> SupernetConfig:
    """Read a run's config.yaml. Raises FileError."""
    path = RunFolder(run).config
    return _settings_in(read_config(path), SupernetConfig(), path)


def read_search(run: Path) -> SavedSearch:
    """Read the search.yaml of a run's newest search. Raises FileError."""
    path = RunFolder(run).search
    plain = read_config(path)
    try:
        budget = from_mapping(Budget, plain.pop("limits", {}), f"limits in {path}")
    except InputError as error:
        raise FileError(f"{path} is damaged: {error}") from None
    digest = plain.pop(LATENCY_DIGEST, None)
    plain.setdefault("target", COUNTS_ONLY)  # of files that are older than targets
    return SavedSearch(
        budget=budget,
        settings=_settings_in(plain, SearchSettings(), path),
        latency_digest=None if digest is None else str(digest),
    )


def _settings_in(plain: dict[str, Any], default: Config, path: Path) -> Config:
    """Return the settings in a file that tinynas wrote, in place of defaults. Raises FileError."""
    try:
        return Overrides.read(plain, type(default), where=str(path)).apply(default)
    except InputError as error:
        raise FileError(f"{path} is damaged: {error}") from None


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
