"""Check the path of a data set "NAME:PATH"."""

from pathlib import Path

from ..utils.errors import InputError


def require_path(name: str, path: Path | None, contents: str) -> Path:
    """Return the path of a data set that cannot be loaded without one. Raises InputError if there is none."""
    if path is None:
        raise InputError(f"{name} needs a path: {name}:PATH, {contents}")
    return path


def refuse_path(name: str, path: Path | None, reason: str) -> None:
    """Raise InputError if a path was passed for a data set that takes none."""
    if path is not None:
        raise InputError(f"the data set {name} takes no path, but got {str(path)!r}; {reason}")
