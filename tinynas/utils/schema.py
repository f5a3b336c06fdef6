"""Checks of plain data against dataclasses, with errors that name the key."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from .errors import FileError, InputError, unknown

T = TypeVar("T")
_TYPES = {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}


def read_yaml(text: str, source: str) -> object:
    """What a YAML text holds. Raises FileError, with the line, if it is not YAML."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "unreadable"
        raise FileError(f"{source}{line} is not valid YAML: {problem}") from None


def from_mapping(cls: type[T], plain: object, where: str) -> T:
    """The flat dataclass `cls` from a mapping of its fields. Raises InputError on unknown or missing keys."""
    values = check_mapping(plain, where)
    check_keys(cls, values, where)
    check_types(cls, values, where)
    return cls(**values)


def check_keys(cls: Any, values: Mapping[str, Any], where: str) -> None:
    """Raise InputError unless the keys are fields of the dataclass `cls` and every field without default is there."""
    known = {f.name: f for f in fields(cls)}
    for key in values:
        if key not in known:
            raise unknown(f"key in {where}", key, known)
    for name, f in known.items():
        if name not in values and f.default is MISSING and f.default_factory is MISSING:
            raise InputError(f"{where} lacks the key {name!r}")


def check_types(cls: Any, values: Mapping[str, Any], where: str) -> None:
    """Raise InputError unless each value is of its field's type: int, float, str, bool, or a tuple of one of these."""
    hints = get_type_hints(cls)
    for name, value in values.items():
        hint = hints[name]
        one = get_args(hint)[0] if get_origin(hint) is tuple else hint
        if one in (int, float, str, bool):
            items = value if isinstance(value, tuple) and one is not hint else (value,)
            allowed = (int, float) if one is float else (one,)
            for item in items:
                if type(item) not in allowed:
                    raise InputError(f"{name} in {where} must be {_TYPES[one]}, but is {item!r:.60}")


def check_mapping(value: object, where: str) -> Mapping[str, Any]:
    """The value, if it is a mapping. Raises InputError."""
    if not isinstance(value, Mapping):
        raise InputError(f"{where} must be a mapping of keys to values, but is {value!r:.60}")
    return value


def check_list(value: object, where: str) -> list[Any]:
    """The value, if it is a list. Raises InputError."""
    if not isinstance(value, list):
        raise InputError(f"{where} must be a list, but is {value!r:.60}")
    return value
