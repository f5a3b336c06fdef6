"""Settings: dataclass fields that carry their help, unit, group and checks.

A setting is declared once, as a field made by `setting`. Its command-line option, its line in --help, its row in the
docs' tables and its checks are all derived from that field.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from math import inf
from typing import Any

from .errors import InputError, unknown


@dataclass(frozen=True, kw_only=True)
class SettingInfo:
    """What is known of a setting beside its name, type and default."""

    help: str  # one sentence, as shown by --help
    group: str = ""  # the panel of --help
    unit: str = ""  # e.g. "epochs", "bytes"
    metavar: str = ""  # placeholder of the value in --help
    flag: str = ""  # without the leading dashes; by default the field's name with hyphens
    aliases: tuple[str, ...] = ()  # older names: hidden flags, and keys that configuration files may still hold
    choices: tuple[str, ...] = ()  # the only values allowed
    minimum: float = -inf
    maximum: float = inf
    above: float = -inf  # the value must be larger than this
    below: float = inf  # the value must be smaller than this
    parse: Callable[[str], Any] | None = None  # from the text of a flag to the value; by default by the field's type


def setting(default: Any = MISSING, *, help: str, default_factory: Callable[[], Any] | None = None, **info: Any) -> Any:
    """Declare a dataclass field that is a setting; `info` are fields of `SettingInfo`."""
    metadata = {"setting": SettingInfo(help=help, **info)}
    if default_factory is not None:
        return field(default_factory=default_factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def settings_of(cls: Any) -> Iterator[tuple[Field[Any], SettingInfo]]:
    """The fields of a dataclass that are settings, in the order of declaration."""
    for declared in fields(cls):
        info = declared.metadata.get("setting")
        if info is not None:
            yield declared, info


def check_settings(config: Any) -> None:
    """Check every setting of a dataclass instance against its declaration. Call it in `__post_init__`.

    Raises:
        InputError: A value is not among the choices or outside the bounds.
    """
    for declared, info in settings_of(config):
        value = getattr(config, declared.name)
        if value is None:
            continue
        if info.choices and value not in info.choices:
            raise unknown(declared.name, value, info.choices)
        if type(value) in (int, float):
            _check_bounds(declared.name, value, info)


def _check_bounds(name: str, value: float, info: SettingInfo) -> None:
    inside = info.minimum <= value <= info.maximum and info.above < value < info.below
    if not inside:
        raise InputError(f"{name} must be {_bounds(info)}, but is {value!r}")


def _bounds(info: SettingInfo) -> str:
    """The bounds in words: "at least 0 and below 1"."""
    named: Sequence[tuple[str, float]] = (
        ("at least", info.minimum),
        ("above", info.above),
        ("at most", info.maximum),
        ("below", info.below),
    )
    parts = [f"{word} {bound:g}" for word, bound in named if abs(bound) < inf]
    return " and ".join(parts) or "finite"
