"""Locks between processes, and who holds them."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import FileError
from .io import from_json, make_folder, read_text, write_json


@dataclass(frozen=True, kw_only=True)
class LockHolder:
    """The process that holds a lock.

    Attributes:
        command: What it runs, such as "tinynas retrain".
        pid: Its process id, of its container if it runs in one.
        host: The name of its machine or container.
        since: When it got the lock, as local time.
    """

    command: str
    pid: int
    host: str
    since: str

    def __str__(self) -> str:
        return f"{self.command} (process {self.pid} on {self.host}, since {self.since})"


@contextmanager
def exclusive_lock(path: Path, command: str, on_held: Callable[[str], None]) -> Iterator[None]:
    """Let one process at a time run the body. The operating system releases the lock of a process that dies.

    Both the lock file and the record of its holder beside it are removed at the end.

    Args:
        path: The lock file. Its folder is created if it is missing.
        command: What this process runs, for those that come meanwhile.
        on_held: Called if another process holds the lock, with who it is, before waiting for it. It may raise an error
            instead of waiting.

    Raises:
        FileError: The lock file cannot be written.
    """
    from filelock import FileLock, Timeout

    lock, record = FileLock(path), path.with_name(f"{path.name}.json")
    try:
        make_folder(path.parent)
        lock.acquire(blocking=False)
    except Timeout:
        on_held(_describe_holder(record))
        lock.acquire()
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from None
    try:
        holder = LockHolder(
            command=command, pid=os.getpid(), host=socket.gethostname(), since=time.strftime("%Y-%m-%d %H:%M:%S")
        )
        write_json(record, asdict(holder))
        yield
    finally:
        for file in (record, path):
            with suppress(OSError):  # such as: the folder is gone; Windows keeps a file that is open
                file.unlink()
        lock.release()


def _describe_holder(record: Path) -> str:
    """Return who holds a lock; "another process" if it is about to write its record, or has just removed it."""
    try:
        return str(LockHolder(**from_json(read_text(record))))
    except (FileError, ValueError, TypeError):
        return "another process"
