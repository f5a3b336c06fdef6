"""Overrides: values that flags, configuration files or callers give to settings in place of their defaults."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from .errors import InputError, unknown
from .schema import check_mapping
from .settings import Section, Setting, sections_of, settings_of

Config = TypeVar("Config")


@dataclass(frozen=True)
class Overrides:
    """Values of settings, by path; every other setting keeps its value. `Overrides.read` checks and builds them.

    `low | high` joins two; where both have a value, that of `high` is taken.

    Attributes:
        values: Value by path: {"recipe.epochs": 3}. That of an optional section turns it on or off: {"netaug": True}.
    """

    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(
        cls, plain: Mapping[str, object], *configs: Any, where: str = "the settings", others: Iterable[str] = ()
    ) -> "Overrides":
        """Check values by key and convert them to their settings' types.

        Args:
            plain: Values by key. A key is a setting's name ("epochs"), older name or path ("recipe.epochs"), or a
                section's name with a mapping of its settings: {"recipe": {"epochs": 3}}.
            *configs: Configuration classes that declare the settings.
            where: Source of the values, for errors.
            others: Keys that are no settings and that an unknown one may be meant to be.

        Raises:
            InputError: A key is unknown (the nearest one is named), is set twice, or its value has another type.

        Example:
            >>> from tinynas.training.recipe import Recipe
            >>> Overrides.read({"epochs": 3}, Recipe).apply(Recipe()).epochs
            3
        """
        keys = _Keys(configs, others)
        values: dict[str, Any] = {}
        for path, value in keys.flatten(plain, where):
            if path in values:
                raise InputError(f"{path} is set twice in {where}; remove one of the two")
            values[path] = value
        return cls(values)

    def __or__(self, other: "Overrides") -> "Overrides":
        joined = {}
        for path, value in self.values.items():
            section = path.partition(".")[0]
            if other.values.get(section) is not False:  # `other` turns the section off
                joined[path] = value
        return Overrides({**joined, **other.values})

    def get(self, path: str) -> Any:
        """Return the value for a setting, None if there is none."""
        return self.values.get(path)

    def without(self, path: str) -> "Overrides":
        """Return these overrides but that of one setting."""
        return Overrides({key: value for key, value in self.values.items() if key != path})

    def apply(self, config: Config) -> Config:
        """Return the configuration with the values that are for its own settings and its sections'.

        Raises:
            InputError: The new values contradict each other, or are for a section that is off.
        """
        changes: dict[str, Any] = {}
        for section in sections_of(type(config)):
            changes[section.name] = self._apply_to_section(section, getattr(config, section.name))
        for setting in settings_of(type(config)):
            if setting.path in self.values and setting.path not in changes and "." not in setting.path:
                changes[setting.path] = self.values[setting.path]
        return replace(config, **changes)  # type: ignore[type-var]

    def _apply_to_section(self, section: Section, current: Any) -> Any:
        prefix = f"{section.name}."
        inner = Overrides({k.removeprefix(prefix): v for k, v in self.values.items() if k.startswith(prefix)})
        if section.optional:
            switch = self.values.get(section.name)
            required = section.required()
            if switch is False:
                current = None
            elif current is None and (switch or any(name in inner.values for name in required)):
                return _build(section, inner.values)
            if current is None:
                for name in inner.values:
                    flag = section.flag()
                    raise InputError(f"{name} has no effect without {flag}; add {flag}, or remove it")
                return None
        return inner.apply(current)


def _build(section: Section, values: Mapping[str, Any]) -> Any:
    for name in section.required():
        if name not in values:
            raise InputError(f"{section.name} lacks {name}; add {section.flag()}")
    return section.type(**values)


class _Keys:
    """All names by which the settings of some configuration classes can be set."""

    def __init__(self, configs: tuple[Any, ...], others: Iterable[str]) -> None:
        self.others = set(others)  # that are no settings
        self.settings: dict[str, Setting] = {}  # by name, older name and path
        self.sections: dict[str, Section] = {}  # by name and older name
        for config in configs:
            for section in sections_of(config):
                for name in section.names:
                    self.sections[name] = section
            for setting in settings_of(config):
                self.settings[setting.path] = setting
                for name in setting.names:
                    self.settings[name] = setting

    def flatten(self, plain: Mapping[str, object], where: str) -> Iterator[tuple[str, Any]]:
        """Yield path and value of every setting in a mapping that may nest sections."""
        for key, value in plain.items():
            section = self.sections.get(key)
            if section is None or (section.optional and isinstance(value, bool)):
                setting = self._named(key, where)
                yield setting.path, setting.read(value, f"{key} in {where}")
            elif section.optional and value is None:
                yield section.name, False
            else:
                if section.optional:
                    yield section.name, True
                yield from self._flatten_section(section, value, where)

    def _flatten_section(self, section: Section, plain: object, where: str) -> Iterator[tuple[str, Any]]:
        for key, value in check_mapping(plain, f"{section.name} in {where}").items():
            setting = self._named(key, where)
            if not setting.path.startswith(f"{section.name}."):
                raise InputError(f"{key} in {where} is not a setting of {section.name}; move it to the top level")
            yield setting.path, setting.read(value, f"{key} in {where}")

    def _named(self, key: str, where: str) -> Setting:
        if key not in self.settings:
            names = {setting.name for setting in self.settings.values()}
            raise unknown(f"key in {where}", key, names | set(self.sections) | self.others)
        return self.settings[key]
