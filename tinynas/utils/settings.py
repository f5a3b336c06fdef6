"""Settings: dataclass fields that declare their help, unit, bounds and flag.

A setting is declared once, as a field that `setting` returns. Its command-line option, its line in --help, its row in
the docs' tables and its checks are derived from that field. A configuration class may have sections, fields that are
configuration classes themselves, such as `recipe: Recipe`. A setting's path names its section first: "recipe.epochs".
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from math import inf, isfinite
from typing import Any, get_type_hints

from .errors import InputError, unknown
from .schema import convert, without_none

_KEY = "setting"  # in a field's metadata


@dataclass(frozen=True, kw_only=True)
class SettingInfo:
    """Declaration of a setting, beside the name, type and default of its field.

    Attributes:
        help: One sentence without its full stop, as shown by --help.
        group: Panel of --help.
        unit: Unit of the value, e.g. "epochs".
        metavar: Placeholder of the value in --help, by default the type; for choices, what they are: "SAMPLER".
        flag: Command-line flag without its dashes; by default the field's name with hyphens. None: it has no flag.
        aliases: Older names, which stay valid as hidden flags and as keys of configuration files.
        choices: The only values allowed.
        minimum: Smallest value allowed.
        maximum: Largest value allowed.
        above: Every value must be larger than this.
        below: Every value must be smaller than this.
        default_text: Replaces the default's value in --help, where that value alone explains little.
        parse: Converts the text of a flag or key to the value.
        implied: Text that a flag has without a value, and a key that is `true`; without it, a value is needed.
    """

    help: str
    group: str = ""
    unit: str = ""
    metavar: str = ""
    flag: str | None = ""
    aliases: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    minimum: float = -inf
    maximum: float = inf
    above: float = -inf
    below: float = inf
    default_text: str = ""
    parse: Callable[[str], Any] | None = None
    implied: str = ""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting of a configuration class or of one of its sections."""

    path: str  # with the section: "recipe.epochs"
    type: Any  # annotation of the field; bool for a switch
    info: SettingInfo
    field_default: Any  # MISSING if it is required
    is_switch: bool = False  # turns an optional section on and off

    @property
    def name(self) -> str:
        """Name without the section."""
        return self.path.rpartition(".")[2]

    @property
    def names(self) -> tuple[str, ...]:
        """Name and older names."""
        return (self.name, *self.info.aliases)

    @property
    def flag(self) -> str | None:
        """Command-line flag without its dashes, None if it has none."""
        return self.name.replace("_", "-") if self.info.flag == "" else self.info.flag

    def read(self, value: object, what: str) -> Any:
        """Return a flag's or key's value in the setting's type. Raises InputError, which names `what`.

        Text such as "4e-5" is a number too, though YAML 1.1 does not read it as one.
        """
        if self.info.implied and isinstance(value, bool):
            if not value:
                return self.field_default
            value = self.info.implied
        if isinstance(value, str):
            if self.info.parse:
                return self.info.parse(value)
            if without_none(self.type) is float:
                value = _number(value)
        return convert(value, self.type, what)

    def default_in(self, config: Any) -> Any:
        """Return the setting's value in a configuration; where its section is off, its field's default."""
        section, _, name = self.path.rpartition(".")
        owner = getattr(config, section) if section else config
        if owner is None:
            return self.field_default
        value = getattr(owner, name)
        return value is not None if self.is_switch else value


@dataclass(frozen=True, kw_only=True)
class Section:
    """A field of a configuration class that is a configuration class itself."""

    name: str
    type: Any
    optional: bool  # None turns it off
    info: SettingInfo

    @property
    def names(self) -> tuple[str, ...]:
        """Name and older names."""
        return (self.name, *self.info.aliases)

    def required(self) -> list[str]:
        """Return the names of its settings that have no default."""
        return [inner.name for inner in settings_of(self.type) if inner.field_default is MISSING]

    def flag(self) -> str:
        """Return the flag that turns it on: that of its first required setting, or its own."""
        name = (self.required() or [self.name])[0]
        return "--" + name.replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class SettingRow:
    """A setting as --help and the docs' tables show it."""

    setting: Setting
    flag: str  # with dashes
    key: str  # path in config.yaml
    default: str
    variants: Mapping[str, str]  # other defaults: {"detection": "16"}
    unit: str
    help: str


def setting(default: Any = MISSING, *, help: str, **info: Any) -> Any:
    """Declare a dataclass field as a setting.

    Args:
        default: Default value; without it the setting is required.
        help: One sentence without its full stop, as shown by --help.
        **info: Other attributes of `SettingInfo`.

    Example:
        >>> @dataclass(frozen=True)
        ... class Config:
        ...     epochs: int = setting(20, help="Passes over the training images", minimum=1)
        >>> Config().epochs
        20
        >>> rows(Config)[0].flag
        '--epochs'
    """
    return field(default=default, metadata={_KEY: SettingInfo(help=help, **info)})


def settings_of(cls: Any) -> tuple[Setting, ...]:
    """Return the settings of a configuration class and of its sections, in the order of declaration."""
    hints = get_type_hints(cls)
    sections = {section.name: section for section in sections_of(cls)}
    settings = []
    for declared in fields(cls):
        info, section = declared.metadata.get(_KEY), sections.get(declared.name)
        default = declared.default
        if section is None and info is not None:
            settings.append(Setting(path=declared.name, type=hints[declared.name], info=info, field_default=default))
        elif section is not None:
            if section.optional:
                settings.append(
                    Setting(path=section.name, type=bool, info=section.info, field_default=False, is_switch=True)
                )
            for inner in settings_of(section.type):
                settings.append(replace(inner, path=f"{section.name}.{inner.path}"))
    return tuple(settings)


def sections_of(cls: Any) -> tuple[Section, ...]:
    """Return the sections of a configuration class, in the order of declaration."""
    hints = get_type_hints(cls)
    sections = []
    for declared in fields(cls):
        section_type = without_none(hints[declared.name])
        if is_dataclass(section_type):
            optional = section_type is not hints[declared.name]
            info = declared.metadata.get(_KEY, SettingInfo(help="", flag=None))
            sections.append(Section(name=declared.name, type=section_type, optional=optional, info=info))
    return tuple(sections)


def check_settings(config: Any) -> None:
    """Check the settings of a configuration, but not of its sections, against their declarations.

    Call it in `__post_init__`.

    Raises:
        InputError: A value has another type, is not among the choices, or lies outside the bounds.
    """
    sections = {section.name for section in sections_of(type(config))}
    for declared in settings_of(type(config)):
        if "." not in declared.path and declared.path not in sections:
            _check_value(declared, getattr(config, declared.path))


def _check_value(declared: Setting, value: Any) -> None:
    info, name = declared.info, declared.name
    convert(value, declared.type, name)
    if value is None:
        return
    if info.choices and value not in info.choices:
        raise unknown(info.metavar.lower() or name, value, info.choices)
    if isinstance(value, int | float):
        inside = info.minimum <= value <= info.maximum and info.above < value < info.below
        if not inside:
            raise InputError(f"{name} must be {_bounds(info, value)}, but is {value!r}")


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _bounds(info: SettingInfo, value: float) -> str:
    """Return the bounds that a value breaks in words: "at least 0 and below 1"."""
    bounds = (
        ("at least", info.minimum),
        ("above", info.above),
        ("at most", info.maximum),
        ("below", info.below),
    )
    words = [f"{word} {bound:g}" for word, bound in bounds if abs(bound) < inf]
    if not isfinite(value):
        words.append("finite")
    return " and ".join(words)


def with_current_keys(plain: Mapping[str, Any], cls: Any) -> dict[str, Any]:
    """Return a configuration file's content with older names of keys replaced by the current ones."""
    names = {}
    for declared in settings_of(cls):
        if "." not in declared.path:
            names.update(dict.fromkeys(declared.info.aliases, declared.path))
    sections = {section.name: section.type for section in sections_of(cls)}
    current: dict[str, Any] = {}
    for key, value in plain.items():
        name = names.get(key, key)
        nested = name in sections and isinstance(value, Mapping)
        current[name] = with_current_keys(value, sections[name]) if nested else value
    return current


def rows(cls: Any) -> list[SettingRow]:
    """Return a row for every setting with a flag of a configuration class, in the order of declaration.

    A class whose defaults differ from case to case has a class method `variants`, which returns a configuration for
    each case by its name; the first of them has the defaults.
    """
    variants = dict(cls.variants()) if hasattr(cls, "variants") else {}
    return [_row(declared, variants) for declared in settings_of(cls) if declared.flag]


def _row(declared: Setting, variants: dict[str, Any]) -> SettingRow:
    info = declared.info
    values = {case: format_value(declared.default_in(config)) for case, config in variants.items()}
    default = next(iter(values.values()), format_value(declared.field_default))
    others = {case: value for case, value in values.items() if value != default}
    if info.default_text or declared.is_switch:
        others = {}
    return SettingRow(
        setting=declared,
        flag=f"--{declared.flag}",
        key=declared.path,
        default=info.default_text or default,
        variants=others,
        unit=info.unit,
        help=info.help,
    )


def format_value(value: Any) -> str:
    """Return a setting's value as --help shows it: "on", "0.5", "1,1.8,2.6"; empty for None and no default."""
    if value is None or value is MISSING:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(map(format_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
