"""Files: written atomically, read with errors that name them."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import yaml

from .errors import FileError


def write(path: Path, content: str | bytes) -> None:
    """Write a file atomically: under a temporary name, then renamed, so that there never is half a file.

    Creates the folder if it is missing.

    Raises:
        FileError: The file cannot be written; a previous one is kept.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        kept = "; the previous one is kept" if path.exists() else ""
        raise FileError(f"cannot write {path}: {error.strerror}{kept}") from None


def check_writable(folder: Path) -> None:
    """Create the folder if it is missing. Raises FileError unless files can be written in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FileError(f"cannot write to {folder}: {error.strerror}; choose another folder") from None


def unused_path(path: Path) -> Path:
    """Return the path if nothing is there, else the first unused one of PATH-2, PATH-3, ..."""
    free, number = path, 2
    while free.exists():
        free = path.with_name(f"{path.name}-{number}")
        number += 1
    return free


def read(path: Path) -> bytes:
    """Return a file's content. Raises FileError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from None


def read_text(path: Path) -> str:
    """Return the content of a UTF-8 file. Raises FileError if it cannot be read or decoded."""
    try:
        return read(path).decode()
    except UnicodeDecodeError:
        raise FileError(f"{path} is not a text file") from None


def write_json(path: Path, document: object) -> None:
    """Write an indented JSON document atomically. Raises FileError."""
    write(path, json.dumps(document, indent=1) + "\n")


def write_yaml(path: Path, document: object) -> None:
    """Write a YAML document atomically, keys in the document's order. Raises FileError."""
    write(path, yaml.safe_dump(document, sort_keys=False))


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises FileError if it cannot be read, or is not valid JSON."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise FileError(f"{path} is damaged: {error.msg} in line {error.lineno}; restore or recreate it") from None


@contextmanager
def exclusive_lock(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Let one process at a time run the body; the lock of a process that dies is released.

    Args:
        path: The lock file.
        on_wait: Called before waiting for another process.

    Raises:
        FileError: The lock file cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        on_wait()
        lock.acquire()
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Append a record to a JSON-lines file, creating it and its folder if missing. Raises FileError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from None
