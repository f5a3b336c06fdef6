"""Errors that the user can fix. Each message is one line: what was wrong with the values, then what to do."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from .text import printable

_SIMILAR = 0.65  # least similarity of names, from 0 to 1: "width" is none of "depth"


class TinyNASError(Exception):
    """Base class of all errors that tinynas raises on purpose.

    The command prints their message, which is one line, and exits with code 1.

    Args:
        message: The message; control characters, such as in the name of a file, become escapes.

    Example:
        >>> from tinynas import TinyNASError, load_space
        >>> try:
        ...     load_space("mirco")
        ... except TinyNASError as error:
        ...     print(error)
        unknown search space 'mirco'; did you mean 'micro'?
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


class InputError(TinyNASError):
    """A name, key or value is not valid."""


class UnregisteredError(InputError):
    """A name is not registered in this process, or the user's code behind it fails; a file with it may be in order."""


class BudgetError(TinyNASError):
    """No network of the search space fits the limits."""


class FileError(TinyNASError):
    """A file or folder is missing, corrupt, or belongs to something else."""


class BusyError(FileError):
    """Another process is at work in a folder."""


class TrainingError(TinyNASError):
    """Training cannot continue."""


class DeviceError(TinyNASError):
    """A device has failed or lacks memory, or another process of a data-parallel training has ended."""


class EvaluationError(TinyNASError):
    """Networks cannot be evaluated, so a search cannot continue."""


def unknown(what: str, name: object, known: Iterable[str]) -> InputError:
    """Return the error for an unknown name, which suggests the most similar known one, or lists all.

    Args:
        what: The kind of name, e.g. "data set".
        name: The unknown name.
        known: All valid names.

    Example:
        >>> unknown("data set", "digit", ["digits", "voc"])
        InputError("unknown data set 'digit'; did you mean 'digits'?")
    """
    return InputError(f"unknown {what} {str(name)!r}; {suggestion(name, known)}")


def suggestion(name: object, known: Iterable[str]) -> str:
    """Return the known name that is most similar to an unknown one, or all of them, for a message."""
    names = sorted(known)
    similar = get_close_matches(str(name), names, n=1, cutoff=_SIMILAR)
    return f"did you mean {similar[0]!r}?" if similar else f"known: {', '.join(names)}"


@contextmanager
def errors_in(where: str) -> Iterator[None]:
    """Begin the messages of errors that the body raises about its input with what it is about, such as a file."""
    try:
        yield
    except UnregisteredError as error:
        raise UnregisteredError(f"{where}: {error}") from None
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def file_error(path: Path, problem: str, error: Exception, advice: str = "") -> FileError:
    """Return the error for a file whose content was refused.

    Args:
        path: The file.
        problem: What is wrong with it, such as "is damaged", unless it only has a name that is not registered.
        error: Why its content was refused.
        advice: What to do if it has the problem.
    """
    if isinstance(error, UnregisteredError):
        return FileError(f"{path}: {error}")
    return FileError(f"{path} {problem}: {error}" + (f"; {advice}" if advice else ""))


def require(condition: bool, expression: str, **values: object) -> None:
    """Raise InputError unless a condition holds. For conditions that read well as an expression.

    Args:
        condition: The value of the expression.
        expression: The condition as the user should read it.
        values: The values of the names in the expression.

    Example:
        >>> require(0 < 3, "low < high", low=0, high=3)
        >>> require(3 < 0, "low < high", low=3, high=0)
        Traceback (most recent call last):
        tinynas.utils.errors.InputError: `low < high` must hold, but got (low=3, high=0)
    """
    if not condition:
        got = ", ".join(f"{name}={value!r}" for name, value in values.items())
        raise InputError(f"`{expression}` must hold, but got ({got})")


def some_names(names: Sequence[str], most: int = 3) -> str:
    """Return the first names and how many more there are, for a message.

    Example:
        >>> some_names(["cat", "dog", "eel", "fox", "gnu"])
        'cat, dog, eel and 2 more'
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
