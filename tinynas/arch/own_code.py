"""Exceptions that a block of the user's own raises, as errors of one line that say where in the user's code."""

from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

from ..utils.errors import TinyNASError, UnregisteredError
from ..utils.text import first_line

_OWN_PACKAGE = __package__.partition(".")[0]
_CHECKS = ("__post_init__", "check")  # which raise errors about values on purpose


@contextmanager
def errors_of_block(kind: type, part: str) -> Iterator[None]:
    """Say of what the body raises, a call of a block of the user's own, which block it is of and where it was raised.

    What shipped blocks raise stays as it is, and so do errors about values that a block's own checks refuse.

    Args:
        kind: The block's class.
        part: What the body calls, such as "lower".

    Raises:
        UnregisteredError: The body raised an exception, its cause.
    """
    try:
        yield
    except Exception as error:
        package = kind.__module__.partition(".")[0]
        if package == _OWN_PACKAGE or (part in _CHECKS and isinstance(error, TinyNASError)):
            raise
        name = getattr(kind, "kind", kind.__name__)
        raise UnregisteredError(
            f"the block {name!r} failed in `{part}`: {describe(error, package)}; mend its class, {kind.__name__}"
        ) from error


def describe(error: Exception, package: str) -> str:
    """Return type and text of an exception, and the last line of a package's code that it came through, if any.

    Args:
        error: The exception, which was raised and caught.
        package: Name of a top-level package or module; "__main__" for a program.
    """
    text = f"{type(error).__name__}: {first_line(str(error))}".removesuffix(": ")
    place = ""
    for frame, line in walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__")).partition(".")[0] == package:
            place = f" ({frame.f_code.co_filename}:{line})"
    return text + place
