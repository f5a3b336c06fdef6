"""Files written whole or not at all, and read with errors that name them."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import yaml

from .errors import FileError


def write(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name and rename it: at no moment is there half a file, or none where one was.

    Raises FileError; a previous file then stays as it was.
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
    """Make the folder if it is missing, and see that a file can be written there. Raises FileError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FileError(f"cannot write to {folder}: {error.strerror}; choose another folder") from None


def unused(path: Path) -> Path:
    """The path itself, or with the first number behind it that is free."""
    numbered = (path.with_name(f"{path.name}-{i}") for i in range(2, 1_000_000))
    return next(path for path in chain([path], numbered) if not path.exists())


def read(path: Path) -> bytes:
    """A file's content. Raises FileError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from None


def read_text(path: Path) -> str:
    """A text file's content. Raises FileError."""
    try:
        return read(path).decode()
    except UnicodeDecodeError:
        raise FileError(f"{path} is not a text file") from None


def write_json(path: Path, document: object) -> None:
    """Write a JSON document, indented. Raises FileError."""
    write(path, json.dumps(document, indent=1) + "\n")


def write_yaml(path: Path, document: object) -> None:
    """Write a YAML document. Raises FileError."""
    write(path, yaml.safe_dump(document, sort_keys=False))


def read_json(path: Path) -> Any:
    """A JSON document. Raises FileError, also if it is cut short or damaged."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise FileError(f"{path} is damaged: {error.msg} in line {error.lineno}; restore it, or make it anew") from None


@contextmanager
def only_one(path: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Only one process at a time is inside; one that dies is out. `wait` is called before waiting for another."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        wait()
        lock.acquire()
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Add a record to a JSON-lines file. Raises FileError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from None
