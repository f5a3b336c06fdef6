"""Errors that are the user's to mend. Each message is one line: what was wrong, the values, what would do."""

from collections.abc import Iterable
from difflib import get_close_matches


class TinyNASError(Exception):
    """Root of all errors tinynas raises on purpose."""


class InputError(TinyNASError):
    """A name, key or value that cannot be used."""


class BudgetError(TinyNASError):
    """Limits that no network of the search space fits."""


class FileError(TinyNASError):
    """A file or folder that is missing, damaged, or belongs to something else."""


class TrainingError(TinyNASError):
    """A training that cannot go on."""


def unknown(what: str, name: object, known: Iterable[str]) -> InputError:
    """The error for a name that is not among the known ones; names the near match."""
    names = sorted(known)
    near = get_close_matches(str(name), names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
    return InputError(f"unknown {what} {str(name)!r}; {hint}")


def require(holds: bool, rule: str, **values: object) -> None:
    """Raise InputError with the rule and the values, unless the rule holds."""
    if not holds:
        got = ", ".join(f"{name}={value!r}" for name, value in values.items())
        raise InputError(f"`{rule}` must hold, but got ({got})")
