"""What authors of published recipes trained with, and how a retraining compares with that, field by field.

The facts stand in recipes/authors/*.yaml, each with the file of the authors' repository that has it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

from ..arch.arch import Arch
from ..utils.errors import InputError
from ..utils.schema import check_list, check_mapping, read_yaml
from ..utils.settings import Setting, format_value, sections_of, settings_of
from .config import RetrainConfig

RESOLUTION = "arch.resolution"  # not a setting, but an input of the network that is trained
_SCRIPT = "script"  # in a source: the recipe's own


@dataclass(frozen=True, kw_only=True)
class ComparedField:
    """A field of a retraining beside the authors'.

    Attributes:
        name: Path of the setting, or what it is about.
        is_setting: Whether a setting, or the network's resolution, has it.
        here: Its value in this retraining.
        authors: The authors' value; empty if it is not known.
        differs: Whether the two differ; None if the authors' is not known.
        written: How their files say it.
        source: The files of their repository.
        note: Why the two differ, or how the value follows from theirs.
    """

    name: str
    is_setting: bool = True
    here: str
    authors: str = ""
    differs: bool | None = None
    written: str = ""
    source: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class AuthorsField:
    """A field of the authors' training.

    Attributes:
        name: Path of the setting that it is, RESOLUTION, or what it is about.
        is_setting: Whether a setting or the resolution has it.
        value: Theirs, as tinynas would set it; of a field that no setting has, in words.
        written: How their files say it.
        source: The files of their repository.
        note: Why tinynas differs, or how the value follows from theirs.
        here: What tinynas does, if no setting has it.
        same: Whether that is the same.
    """

    name: str
    is_setting: bool
    value: Any
    written: str = ""
    source: str
    note: str = ""
    here: str = ""
    same: bool = True

    def beside(self, here: str, *, differs: bool) -> ComparedField:
        """Return the field beside a retraining's own value."""
        return ComparedField(
            name=self.name,
            is_setting=self.is_setting,
            here=here,
            authors=format_value(self.value),
            differs=differs,
            written=self.written,
            source=self.source,
            note=self.note,
        )


@dataclass(frozen=True, kw_only=True)
class Authors:
    """What the authors of a recipe trained with.

    Attributes:
        repository: Address of their code.
        commit: Its commit.
        fields: The fields of their training.
        baseline: Fields that the plain training has instead which they compare theirs with, if that is known.
        not_in_baseline: Names of fields that the plain training does not have.
    """

    repository: str
    commit: str
    fields: tuple[AuthorsField, ...]
    baseline: tuple[AuthorsField, ...] = ()
    not_in_baseline: tuple[str, ...] = ()

    def of_baseline(self) -> "Authors":
        """Return what they trained the plain baseline with."""
        return self.without(self.not_in_baseline).with_fields(self.baseline)

    def with_fields(self, fields: Iterable[AuthorsField]) -> "Authors":
        """Return the same training with other fields in place of those of their names."""
        other = {field.name: field for field in fields}
        return replace(self, fields=tuple(other.get(field.name, field) for field in self.fields))

    def without(self, names: Collection[str]) -> "Authors":
        """Return the same training, of which some fields are not known or have no meaning."""
        return replace(self, fields=tuple(field for field in self.fields if field.name not in names))


def read_authors(recipe: str) -> Authors:
    """Return what the authors of a published recipe trained with.

    Raises:
        InputError: Nothing is known about a recipe of this name.
    """
    for entry in files("tinynas.recipes").joinpath("authors").iterdir():
        if not entry.name.endswith(".yaml"):
            continue
        plain = check_mapping(read_yaml(entry.read_text("utf-8"), entry.name), entry.name)
        for recipes in check_list(plain["sets"], "sets"):
            if recipe in recipes["scripts"]:
                baseline = recipes.get("baseline", {"fields": [], "without": []})
                return Authors(
                    repository=f"{plain['repository']}/{plain['folder']}",
                    commit=plain["commit"],
                    fields=tuple(_fields_of(recipes["fields"], recipe, recipes["scripts"][recipe])),
                    baseline=tuple(_fields_of(baseline["fields"], recipe, recipes["scripts"][recipe])),
                    not_in_baseline=tuple(baseline["without"]),
                )
    raise InputError(f"nothing is known about the authors of {recipe!r}; remove the key authors from the recipe")


def _fields_of(fields: Iterable[Mapping[str, Any]], recipe: str, script: str) -> Iterator[AuthorsField]:
    """Yield the fields that apply to a recipe, whose script this is."""
    for plain in fields:
        value, written = plain["value"], plain.get("written", "")
        if isinstance(value, dict):
            if recipe not in value:
                continue
            value = value[recipe]
        source = ", ".join(script if file == _SCRIPT else file for file in plain["source"].split(", "))
        yield AuthorsField(
            name=plain.get("setting") or plain["field"],
            is_setting="setting" in plain,
            value=value,
            written=written[recipe] if isinstance(written, dict) else written,
            source=source,
            note=plain.get("note", ""),
            here=plain.get("here", ""),
            same=plain.get("same", True),
        )


def compare_with_authors(arch: Arch, config: RetrainConfig, authors: Authors | None) -> list[ComparedField]:
    """Return every resolved field of a retraining beside the authors'.

    Args:
        arch: The network that is trained.
        config: The settings, all resolved.
        authors: What the authors trained with, if that is known.

    Returns:
        The resolution, every setting, and what the authors' code does that no setting changes.
    """
    fields = authors.fields if authors else ()
    of_settings = {field.name: field for field in fields if field.is_setting}
    compared = [_compared(RESOLUTION, arch.resolution, of_settings.get(RESOLUTION))]
    for declared in _settings_in_use(config):
        field, value = of_settings.get(declared.path), declared.default_in(config)
        if field is not None:
            field = replace(field, value=declared.read(field.value, declared.path))
        compared.append(_compared(declared.path, value, field, unset=declared.info.default_text))
    for field in fields:
        if not field.is_setting:
            compared.append(field.beside(field.here, differs=not field.same))
    return compared


def _settings_in_use(config: RetrainConfig) -> Iterator[Setting]:
    """Yield the settings, but those of sections that are off."""
    off = [section.name for section in sections_of(RetrainConfig) if getattr(config, section.name) is None]
    for declared in settings_of(RetrainConfig):
        if declared.path.partition(".")[0] not in off or declared.is_switch:
            yield declared


def _compared(name: str, value: Any, field: AuthorsField | None, *, unset: str = "") -> ComparedField:
    """Return a setting's value beside the authors'; `unset` says what None stands for."""
    here = format_value(value) or unset or "-"
    if field is None:
        return ComparedField(name=name, here=here)
    return field.beside(here, differs=value != field.value)
