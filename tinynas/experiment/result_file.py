"""Reading of result files, with checks of every value, and the digest that some of them hold."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields
from json import JSONDecodeError
from math import inf
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from ..arch.cost import COSTS, Cost
from ..tasks.chance import Chance
from ..tasks.detection_figures import PERCENT_FIGURES, DetectionFigures
from ..utils.errors import FileError, InputError, file_error
from ..utils.io import from_json, json_digest, read_text
from ..utils.schema import check_keys, check_list, check_mapping, check_types, check_value

T = TypeVar("T")
_DIGEST = "sha256"  # key of a result file
_PERCENT = ("accuracy", "balanced_accuracy", "ap50", "train_accuracy", "mainnet_accuracy")
_COUNTS = ("bytes", "epochs", "evaluations")
_MEASURES = ("standard_error", "threshold", "temperature", "seconds")
_LARGEST = dict.fromkeys(_COUNTS + _MEASURES + COSTS, inf) | {"share": 1.0}
_LARGEST |= dict.fromkeys(_PERCENT + PERCENT_FIGURES, 100.0)
_ROUNDING = 1e-6  # by which a mean may exceed its largest value


class Result(Protocol):
    """What a result file holds."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as the JSON file has it."""

    @classmethod
    def from_dict(cls, plain: object) -> Self:
        """Return the result that `to_dict` made plain.

        Raises:
            InputError: A key is missing, or its value is of the wrong type.
        """


R = TypeVar("R", bound=Result)


def read_result(cls: type[R], path: Path, *, advice: str) -> R:
    """Read a result file.

    Args:
        cls: The class of its content.
        path: The JSON file.
        advice: What the user can do if the file is damaged, as the end of an error message: "run the search again".

    Raises:
        FileError: The file is missing, damaged, or lacks a key, or its content is not what its digest says.
    """
    text = read_text(path)
    try:
        plain = from_json(text)
        _check_digest(plain, path)
        return cls.from_dict(plain)
    except JSONDecodeError as error:
        problem: Exception = InputError(f"{error.msg} in line {error.lineno}")
    except (InputError, TypeError, ValueError) as error:
        problem = error
    raise file_error(path, "is damaged or from an older version of tinynas", problem, advice)


def read_fields(
    cls: type[T], values: Mapping[str, Any], where: str, *, of_any_range: Collection[str] = (), **nested: Any
) -> T:
    """Return the dataclass `cls` from those keys that are its fields; other keys are ignored.

    Args:
        cls: The dataclass.
        values: Its fields as plain data.
        where: What holds the values, for error messages.
        of_any_range: Names of figures that may be any number.
        nested: Fields that are already read, and replace their plain data.

    Raises:
        InputError: A field without default is missing, a number, string or truth value is of the wrong type, or a
            figure is out of its range.
    """
    kept = {}
    for item in fields(cls):  # type: ignore[arg-type]
        if item.name in values:
            kept[item.name] = values[item.name]
    kept |= nested
    check_keys(cls, kept, where)
    check_types(cls, kept, where)
    for name, value in kept.items():
        if name in _LARGEST and name not in of_any_range:
            check_range(value, name, where)
    return cls(**kept)


def read_by_class(values: Mapping[str, Any], key: str = "by_class") -> dict[str, float | None]:
    """Return the figures by class among the keys of a result, in percent; None for a class without test images.

    Raises:
        InputError: They are no mapping, or a value is neither a number from 0 to 100 nor None.
    """
    by_class = dict(check_mapping(values.get(key, {}), key))
    for name, value in by_class.items():
        if value is not None:
            check_value(value, float, f"{name!r} in {key}")
            check_range(value, "accuracy", f"{name!r} in {key}")
    return by_class


def read_cost(values: Mapping[str, Any]) -> Cost:
    """Return the cost among the keys of a result.

    Raises:
        InputError: A key is missing, or its value is of the wrong type.
    """
    own = check_mapping(values.get("own", {}), "own")
    for name, value in own.items():
        check_value(value, float, f"{name} in the cost")
    return read_fields(Cost, values, "the cost", own=dict(own))


def read_own_costs(values: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return unit and digest of the user's own costs among the keys of a result, by name.

    Raises:
        InputError: They are no mappings of text.
    """
    sources: dict[str, dict[str, str]] = {}
    for name, source in check_mapping(values.get("own_costs", {}), "own_costs").items():
        sources[name] = {}
        for key, text in check_mapping(source, f"{name} in own_costs").items():
            check_value(text, str, f"{key} of {name} in own_costs")
            sources[name][key] = text
    return sources


def with_digest(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a result file with a digest of it as the last key; `read_result` checks it."""
    return {**plain, _DIGEST: json_digest(plain)}


def _check_digest(plain: object, path: Path) -> None:
    """Raise FileError if a result file has a digest that is not the one of its content."""
    if not isinstance(plain, dict) or _DIGEST not in plain:
        return
    content = dict(plain)
    if content.pop(_DIGEST) != json_digest(content):
        raise FileError(
            f"{path} is damaged or was edited: its content is not what its {_DIGEST} says; restore the file, or delete "
            f"its line {_DIGEST!r} to use it as it is"
        )


def check_range(value: float | None, name: str, where: str) -> None:
    """Raise InputError unless the value, if there is one, is from 0 to the largest of the figures of this name."""
    largest = _LARGEST[name]
    if value is not None and not 0 <= value <= largest + _ROUNDING:
        rule = f"from 0 to {largest:g}" if largest < inf else "at least 0"
        raise InputError(f"{name} in {where} must be {rule}, but is {value}")


def read_chance(values: Mapping[str, Any]) -> Chance | None:
    """Return the chance level among the keys of a result, if there is one.

    Raises:
        InputError: One of its keys is missing, or its value is of the wrong type.
    """
    plain = values.get("chance")
    return None if plain is None else read_fields(Chance, check_mapping(plain, "chance"), "chance")


def read_detection(values: Mapping[str, Any]) -> DetectionFigures | None:
    """Return the figures of a detector among the keys of a result, if there are any.

    Raises:
        InputError: One of their keys is missing, or its value is of the wrong type.
    """
    if values.get("detection") is None:
        return None
    plain = check_mapping(values["detection"], "detection")
    return read_fields(DetectionFigures, plain, "detection", ap_by_class=read_by_class(plain, "ap_by_class"))


def to_dicts(entries: Sequence[Any]) -> list[dict[str, Any]]:
    """Return dataclasses as plain data."""
    return [asdict(entry) for entry in entries]


def read_entries(cls: type[T], plain: object, where: str) -> tuple[T, ...]:
    """Return the dataclasses in a list of mappings.

    Raises:
        InputError: It is no list of mappings, a key is missing, or a value is of the wrong type.
    """
    entries = []
    for entry in check_list(plain, where):
        entries.append(read_fields(cls, check_mapping(entry, where), where))
    return tuple(entries)


def read_tuples(values: Mapping[str, Any], name: str, size: int) -> tuple[Any, ...]:
    """Return the tuples of `size` numbers in the list of lists `name`.

    Raises:
        InputError: It is no list of such lists.
    """
    entries = []
    for entry in check_list(values.get(name), name):
        if len(check_list(entry, name)) != size:
            raise InputError(f"an entry of {name} must have {size} numbers, but is {entry!r:.60}")
        for value in entry:
            check_value(value, float, f"a value of {name}")
        entries.append(tuple(entry))
    return tuple(entries)


def read_numbers(plain: object, where: str) -> tuple[float, ...]:
    """Return the numbers in a list, none of which is negative.

    Raises:
        InputError: It is no list of such numbers.
    """
    numbers = []
    for value in check_list(plain, where):
        check_value(value, float, f"a value of {where}")
        check_range(value, "threshold", where)
        numbers.append(value)
    return tuple(numbers)
