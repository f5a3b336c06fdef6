"""Files in the folders of data sets, without those that are hidden or made by tools."""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..utils.errors import FileError, some_names
from ..utils.text import counted
from .images import image_endings

_TOOL_MADE = {"__macosx", "@eadir", "#recycle", "$recycle.bin", "thumbs.db", "desktop.ini", "lost+found"}


@dataclass
class FolderListing:
    """The files in a folder and its subfolders.

    Attributes:
        files: Paths of the files with the endings that were asked for, sorted.
        other: How many files have another ending, by ending.
        hidden: Number of hidden files and folders, and of those that are made by tools.
    """

    files: list[str] = field(default_factory=list)
    other: Counter[str] = field(default_factory=Counter)
    hidden: int = 0


def list_files(root: Path, endings: Collection[str]) -> FolderListing:
    """List the files in a folder and its subfolders; a folder that does not exist has none.

    Args:
        root: The folder.
        endings: Endings of the files to list, such as ".png", in lower case.

    Raises:
        FileError: A folder cannot be read.
    """
    listing = FolderListing()
    files: list[tuple[str, str]] = []
    visited: set[str] = set()  # real paths, as a link can lead back
    for folder, subfolders, names in os.walk(root, onerror=_check_missing, followlinks=True):
        if os.path.realpath(folder) in visited:
            subfolders.clear()
            continue
        visited.add(os.path.realpath(folder))
        shown = [name for name in subfolders if not is_hidden(name)]
        listing.hidden += len(subfolders) - len(shown)
        subfolders[:] = sorted(shown)  # of several links to a folder, always the same one is followed
        for name in names:
            if is_hidden(name):
                listing.hidden += 1
            elif ending(name) in endings:
                files.append((folder, name))
            else:
                listing.other[ending(name)] += 1
    for folder, name in sorted(files):
        listing.files.append(os.path.join(folder, name))
    return listing


def entries_of(folder: Path, *, hidden: bool = False) -> list[Path]:
    """Return what is in a folder, sorted; hidden entries too if asked for. Raises FileError if it cannot be read."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise _cannot_read(error) from None
    return [entry for entry in entries if hidden or not is_hidden(entry.name)]


def entry_of(folder: Path, name: str) -> Path:
    """Return the path of an entry of a folder, whose name may be in other case; that of `name` if there is none."""
    path = folder / name
    if path.exists() or not folder.is_dir():
        return path
    for entry in entries_of(folder):
        if entry.name.lower() == name.lower():
            return entry
    return path


def _check_missing(error: OSError) -> None:
    """Raise FileError for a folder that cannot be read, unless it does not exist."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise _cannot_read(error)


def _cannot_read(error: OSError) -> FileError:
    return FileError(f"cannot read the folder {error.filename}: {error.strerror}; change its permissions")


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, or made by a system or tool."""
    return name.startswith(".") or name.lower() in _TOOL_MADE


def is_image(name: str) -> bool:
    """Return whether a file has the ending of an image that is read."""
    return ending(name) in image_endings()


def ending(name: str) -> str:
    """Return a file's ending in lower case, such as ".png"."""
    return os.path.splitext(name)[1].lower()


def other_files(other: Counter[str]) -> str:
    """Describe files that are left out: how many, by ending."""
    endings = []
    for suffix, count in other.most_common():
        endings.append(f"{suffix or 'no ending'} ({count})")
    return f"{counted(other.total(), 'file')} whose ending is not read: {some_names(endings)}"


def describe_files(folder: Path, endings: Collection[str]) -> str:
    """Describe the files with some endings in a folder: how many, and the first names; or what is there instead."""
    listing = list_files(folder, endings)
    if listing.files:
        names = some_names(relative_names(listing.files, folder))
        return f"{folder} has {counted(len(listing.files), 'file')}: {names}"
    instead = f", but {other_files(listing.other)}" if listing.other else ""
    return f"{folder} has none{instead}"


def relative_names(paths: Sequence[str], folder: Path) -> list[str]:
    """Return paths relative to a folder, with "/" between the parts."""
    return [Path(path).relative_to(folder).as_posix() for path in paths]
