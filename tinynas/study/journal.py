"""The journal file, the default storage of studies: one line an operation, each with a checksum."""

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

from filelock import FileLock
from optuna.exceptions import StorageInternalError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from ..utils.io import to_json

_CHECKSUM = "crc32"  # of the line without it; lines of other programs have none


class Journal(JournalFileBackend):
    """A journal file that survives killed writers and full disks, and notices damage.

    An unfinished last line is cut off before the next is appended. Optuna's own JournalFileBackend reads the file too.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._lock_file = FileLock(path.with_name(f".{path.name}.lock"))  # released when its holder dies
        super().__init__(str(path), self._lock_file)  # type: ignore[arg-type]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines, each with its checksum."""
        with _as_storage_error(), self._lock_file:
            with open(self._path, "rb+") as file:  # raises if the file is gone, unlike "ab"
                _cut_unfinished_line(file)
            checked = []
            for log in logs:
                checked.append({**log, _CHECKSUM: _checksum(log)})
            super().append_logs(checked)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        """Yield the lines from this number on; those of other programs need no checksum."""
        with _as_storage_error():
            for number, log in enumerate(super().read_logs(log_number_from), start=log_number_from + 1):
                expected = log.pop(_CHECKSUM, None)
                if expected is not None and expected != _checksum(log):
                    raise ValueError(f"line {number} is damaged, it is not what its checksum says")
                yield log


class JournalFileStorage(JournalStorage):
    """Optuna's storage in a journal file, which can return a study's last trials without a list of all of them."""

    def trials_from(self, study_id: int, first: int, others: Iterable[int]) -> list[FrozenTrial]:
        """Return the trials with other numbers, and all from a first number on; they are not copied."""
        with self._thread_lock:
            self._sync_with_backend()
            ids = self._replay_result._study_id_to_trial_ids[study_id]
            trials = self._replay_result._trials
            return [trials[ids[number]] for number in [*others, *range(first, len(ids))]]


def _checksum(log: dict[str, Any]) -> int:
    return crc32(to_json(log, canonical=True).encode())


def _cut_unfinished_line(file: BinaryIO) -> None:
    """Truncate a file after its last newline."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return
    file.seek(-1, os.SEEK_END)
    if file.read() != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


@contextlib.contextmanager
def _as_storage_error() -> Iterator[None]:
    """Raise Optuna's StorageInternalError for what reading and writing a file raises."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "; the disk is full: free some space, nothing that was written before is lost" if full else ""
        raise StorageInternalError(f"{error}{advice}") from error
    except ValueError as error:
        raise StorageInternalError(str(error)) from error
