"""Files: written atomically, read with errors that name them; and JSON without NaN and infinities."""

import codecs
import glob
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from math import isfinite
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import yaml

from .errors import FileError

_LEFTOVER_SECONDS = 24 * 3600.0  # age from which a temporary file is that of a killed process


def write(path: Path, content: str | bytes) -> None:
    """Write a file atomically: under a temporary name, then renamed, so that there never is half a file.

    Creates the folder if it is missing. Of a link the file is written that it leads to. The temporary name is random,
    so that processes of several machines or containers, whose process ids may be equal, can write the same file.
    Temporary files of the same file that are older than a day, which killed processes have left, are removed.

    Raises:
        FileError: The file cannot be written; a previous one is kept, and what is no file is not replaced.
    """
    path = _file_behind(path)
    # Of names that are not UTF-8 Python has the bytes as surrogates, which no encoding has.
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        make_folder(path.parent)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
        _remove_leftovers(path)
    except OSError as error:
        kept = "; the previous one is kept" if path.is_file() else ""
        raise FileError(f"cannot write {path}: {error.strerror}{kept}") from None
    finally:
        with suppress(OSError):  # such as: it is renamed, or there is no folder
            temporary.unlink()


def _file_behind(path: Path) -> Path:
    """Return the path of a file, or of none yet, to which a path leads. Raises FileError if it is something else."""
    target = path.resolve() if path.is_symlink() else path
    if target.exists() and not target.is_file():
        what = "a folder" if target.is_dir() else "no file, but a device or a pipe"
        raise FileError(f"cannot write {path}: it is {what}; name a file")
    return target


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power failure; not on systems that cannot open or sync a folder."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files of a file just written that are more than a day older; others may be in use."""
    with suppress(OSError):  # such as: another process has removed it
        written_at = path.stat().st_mtime
        for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            if written_at - leftover.stat().st_mtime > _LEFTOVER_SECONDS:
                leftover.unlink()


def make_folder(folder: Path) -> None:
    """Create the folder if it is missing. Raises OSError if it cannot be, FileError if a file is in its place."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        for path in (folder, *folder.parents):
            if path.is_file():
                raise FileError(f"{path} is a file, but a folder is needed there; choose another folder") from None
        raise


def check_writable(folder: Path) -> None:
    """Create the folder if it is missing. Raises FileError unless files can be written in it."""
    try:
        make_folder(folder)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FileError(f"cannot write to {folder}: {error.strerror}; choose another folder") from None


def reserve_folder(path: Path) -> Path:
    """Create a folder that is not there yet: the path, else the first possible one of PATH-2, PATH-3, ...

    Creating it is the reservation: two processes that ask for the same path get different folders.

    Raises:
        FileError: No folder can be created there.
    """
    folder, number = path, 2
    try:
        make_folder(path.parent)
        while True:
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                folder = path.with_name(f"{path.name}-{number}")
                number += 1
    except OSError as error:
        raise FileError(f"cannot create {error.filename}: {error.strerror}; choose another folder") from None


@contextmanager
def removed_if_empty(*folders: Path) -> Iterator[None]:
    """Remove reserved folders, in this order, if the body raises before anything is written into them."""
    try:
        yield
    except BaseException:
        for folder in folders:
            with suppress(OSError):  # it is not empty, or not there
                folder.rmdir()
        raise


def folder_size(folder: Path) -> tuple[int, float]:
    """Return the bytes of all files in a folder, and when the newest was written, in seconds since 1970; 0 of none."""
    total, newest = 0, 0.0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # such as: it was removed meanwhile
                state = os.lstat(os.path.join(parent, name))
                total, newest = total + state.st_size, max(newest, state.st_mtime)
    return total, newest


def read(path: Path) -> bytes:
    """Return a file's content. Raises FileError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from None


def read_text(path: Path) -> str:
    """Return the content of a file in UTF-8, or in UTF-16 with a byte order mark, without the mark.

    Raises:
        FileError: It cannot be read or decoded.
    """
    content = read(path)
    has_utf16_mark = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if has_utf16_mark else "utf-8-sig")
    except UnicodeDecodeError:
        raise FileError(f"{path} is not a text file in UTF-8; restore it, or save it in UTF-8") from None


def to_json(document: object, *, indent: int | None = None, canonical: bool = False) -> str:
    """Return a document as strict JSON.

    Args:
        document: Dicts with keys of text, lists, tuples, texts, numbers, truth values and None.
        indent: Spaces of a level; None for a single line.
        canonical: Sort the keys and leave out spaces, so that equal documents give equal texts.

    Returns:
        JSON that any parser reads: NaN and infinities, which JSON does not have, become null.

    Example:
        >>> to_json({"loss": float("nan"), "step": 3})
        '{"loss": null, "step": 3}'
    """
    separators = (",", ":") if canonical else None
    plain = _without_nan(document)
    return json.dumps(plain, indent=indent, sort_keys=canonical, separators=separators, allow_nan=False)


def from_json(text: str) -> Any:
    """Parse JSON; NaN and Infinity, which older versions wrote, become None. Raises ValueError if it is not JSON."""
    return json.loads(text, parse_constant=_none_for)


def json_digest(document: object) -> str:
    """Return the SHA-256 of a document as canonical JSON."""
    return sha256(to_json(document, canonical=True).encode()).hexdigest()


def write_json(path: Path, document: object) -> None:
    """Write an indented JSON document atomically. Raises FileError."""
    write(path, to_json(document, indent=1) + "\n")


def write_yaml(path: Path, document: object) -> None:
    """Write a YAML document atomically, keys in the document's order. Raises FileError."""
    write(path, yaml.safe_dump(document, sort_keys=False))


def read_json(path: Path, *, advice: str = "restore or recreate it") -> Any:
    """Return the content of a JSON file.

    Args:
        path: The file.
        advice: What to do if it is damaged, for the error.

    Raises:
        FileError: It cannot be read, or is not valid JSON.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise FileError(f"{path} is damaged: {error.msg} in line {error.lineno}; {advice}") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or brackets in brackets
        raise FileError(f"{path} is damaged: {error}; {advice}") from None


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Append a record to a JSON-lines file, creating it and its folder if missing. Raises FileError."""
    try:
        make_folder(path.parent)
        with open(path, "a", encoding="utf-8") as file:
            file.write(to_json(record) + "\n")
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from None


def _without_nan(value: object) -> object:
    """Return plain data with None for every float that is not finite."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return value


def _none_for(constant: str) -> None:
    """Read NaN, Infinity and -Infinity as None."""
