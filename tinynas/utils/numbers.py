"""Numbers that functions of a user's program return, and those in files."""

from math import isfinite, nan

_MOST_CHARACTERS = 30  # of a text that is shown in a message


def as_number(value: object) -> float | None:
    """Return a number, or a tensor or array of one, as a float; None for anything else.

    Example:
        >>> as_number(3), as_number("3")
        (3.0, None)
    """
    if isinstance(value, str | bytes | bool):  # of which float() makes numbers
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor of several
        return None


def shortened(text: str) -> str:
    """Return a text as messages show it: its first characters, if it has many."""
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "..."


def finite_number(text: str) -> float:
    """Return the number that a text is. Raises ValueError if it is none, or not finite."""
    try:
        number = float(text)
    except ValueError:
        number = nan
    if not isfinite(number):
        raise ValueError(f"{shortened(text)!r} is not a number")
    return number
