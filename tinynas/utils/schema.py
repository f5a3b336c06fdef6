"""Checks of plain data against type annotations and dataclasses, with errors that name the key."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from math import isfinite
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from .errors import FileError, InputError, errors_in, unknown
from .sizes import Size, check_size

T = TypeVar("T")
_TYPE_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def read_yaml(text: str, source: str, *, as_text: bool = False) -> object:
    """Parse a YAML text. Raises FileError, with the line, if it is not YAML.

    Args:
        text: The text.
        source: Where it is from, for error messages.
        as_text: Leave all values text: a name `no` or `007` is then neither false nor a number.
    """
    try:
        return yaml.load(text, yaml.BaseLoader) if as_text else yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "unreadable"
        raise FileError(f"{source}{line} is not valid YAML: {problem}") from None


def from_mapping(cls: type[T], plain: object, where: str) -> T:
    """Build the flat dataclass `cls` from a mapping of its fields. Raises InputError on unknown or missing keys."""
    values = check_mapping(plain, where)
    check_keys(cls, values, where)
    check_types(cls, values, where)
    with errors_in(where):
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
    """Raise InputError unless each value has its field's type: int, float, str, bool, Size, or a tuple of one of these.

    Floats must be finite.
    """
    hints = get_type_hints(cls)
    for name, value in values.items():
        hint = without_none(hints[name])
        if value is None and hint is not hints[name]:
            continue
        item_type = get_args(hint)[0] if get_origin(hint) is tuple else hint
        items = value if isinstance(value, tuple) and item_type is not hint else (value,)
        for item in items:
            if item_type == Size:
                check_size(f"{name} in {where}", item)
            elif item_type in _TYPE_NAMES:
                check_value(item, item_type, f"{name} in {where}")


def convert(value: object, hint: Any, what: str) -> Any:
    """Return a plain value in the type of an annotation: int, float, str, bool, a tuple of these, or None with these.

    A whole number becomes a float, a list a tuple.

    Raises:
        InputError: The value has another type; the message names `what`, the expected type and the value.
    """
    inner = without_none(hint)
    if value is None and inner is not hint:
        return None
    if get_origin(inner) is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{what} must be a list, but is {value!r:.60}")
        item_type = get_args(inner)[0]
        return tuple([convert(item, item_type, what) for item in value])
    _check_type(value, inner, what)
    return float(value) if inner is float and type(value) is int else value


def without_none(hint: Any) -> Any:
    """Return `X` of an annotation `X | None`, and any other annotation as it is."""
    options = get_args(hint)
    if NoneType not in options:
        return hint
    return next(option for option in options if option is not NoneType)


def check_mapping(value: object, where: str) -> Mapping[str, Any]:
    """Return the value, if it is a mapping. Raises InputError."""
    if not isinstance(value, Mapping):
        raise InputError(f"{where} must be a mapping of keys to values, but is {value!r:.60}")
    return value


def check_list(value: object, where: str) -> list[Any]:
    """Return the value, if it is a list. Raises InputError."""
    if not isinstance(value, list):
        raise InputError(f"{where} must be a list, but is {value!r:.60}")
    return value


def check_value(value: object, expected: Any, what: str) -> None:
    """Raise InputError unless the value is of this type: int, float, str or bool; a float must be finite."""
    _check_type(value, expected, what)
    if isinstance(value, float) and not isfinite(value):
        raise InputError(f"{what} must be a finite number, but is {value}")


def _check_type(value: object, expected: Any, what: str) -> None:
    allowed = (int, float) if expected is float else (expected,)
    if type(value) not in allowed:
        raise InputError(f"{what} must be {_TYPE_NAMES[expected]}, but is {value!r:.60}")
