"""Paths: absolute ones in settings, so that a run can be resumed from any folder; the cache."""

import os
from difflib import get_close_matches
from pathlib import Path

from .errors import FileError, some_names

HUB = "hf:"  # before the name of a model on the Hugging Face Hub


def is_on_hub(name: str) -> bool:
    """Return whether a name is that of a model on the Hugging Face Hub, "hf:USER/REPO"."""
    return name.startswith(HUB)


def absolute_path(path: str) -> str:
    """Return a path made absolute; ~ is the home folder."""
    return str(Path(path).expanduser().resolve())


def with_absolute_path(text: str) -> str:
    """Return "NAME:PATH", "torchvision:NAME:PATH" or a file's path with an absolute path, and a name as it is."""
    if is_on_hub(text):
        return text
    kind, _, path = text.partition(":")
    if kind == "torchvision":
        name, _, path = path.partition(":")
        kind = f"torchvision:{name}"
    if path:
        return f"{kind}:{absolute_path(path)}"
    return absolute_path(text) if Path(text).suffix and ":" not in text else text


def cache_folder() -> Path:
    """Return the folder of what can be downloaded or computed again: $XDG_CACHE_HOME/tinynas or ~/.cache/tinynas."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tinynas"


def utf8_name(name: str) -> str:
    """Return the name of a file or folder read as UTF-8, whatever the locale's encoding; other bytes as surrogates."""
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def missing_folder(what: str, path: Path, file: str) -> FileError:
    """Return the error for a folder that does not exist, which names the most similar one beside it.

    Args:
        what: What the folder holds, e.g. "run".
        path: The folder.
        file: Name of a file that every such folder holds; others are not named.
    """
    beside = sorted([other.parent.name for other in path.parent.glob(f"*/{file}")])
    similar = get_close_matches(path.name, beside, n=1)
    hint = f"did you mean {path.parent / similar[0]}?" if similar else f"beside it: {some_names(beside) or 'none'}"
    return FileError(f"there is no {what} folder {path}; {hint}")
