"""Numbers that functions of a user's program return."""


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
