"""Where an Optuna study is stored, and how the processes that share it notice that one of them died.

Every trial records the process that evaluates it. A trial whose process is gone is marked as failed, and its network
is queued again; so a search that was killed resumes where it was.
"""

import contextlib
import os
import socket
import time
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import optuna
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ..utils.errors import FileError, InputError, TinyNASError

ARCH = "arch"  # user attribute of a trial whose genes are all drawn
REQUEUED = "again"  # user attribute of a trial queued for one whose process died: the number of that one
_WORKER = "worker"  # user attribute of a trial: the process that evaluates it
_HEARTBEAT = 10  # seconds between the heartbeats of a trial in a database
_LOCK_TIMEOUT = 60  # seconds that a transaction waits for others to end, in SQLite
_GRACE = 60  # seconds without a heartbeat after which a trial's process counts as dead


def open_storage(url: str) -> BaseStorage:
    """Open a database by its URL (sqlite:///..., postgresql://...), or a journal file by its path.

    Raises:
        InputError: The URL cannot be used.
        FileError: The study in it cannot be used.
    """
    with warnings.catch_warnings(), storage_errors(url, OSError, ValueError, KeyError):
        warnings.simplefilter("ignore", ExperimentalWarning)
        if "://" not in url:
            return JournalStorage(_Journal(Path(url)))
        try:
            try:
                return _Database(url)
            except DBAPIError:  # another process was creating the tables
                time.sleep(1)
                return _Database(url)
        except ImportError as error:
            driver = getattr(error.__cause__, "name", None) or "a driver"
            advice = "pip install 'tinynas[distributed]' installs PostgreSQL's"
            raise InputError(
                f"the storage {redact_password(url)} needs {driver}, which is not installed; {advice}"
            ) from None
        except ValueError as error:
            raise InputError(f"cannot read the storage {redact_password(url)}: {error}") from None


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Let Optuna log errors only, and restore its verbosity afterwards."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)


@contextlib.contextmanager
def storage_errors(url: str, *kinds: type[Exception]) -> Iterator[None]:
    """Raise FileError for the exceptions of a storage, and for exceptions of these further kinds."""
    try:
        yield
    except Exception as error:
        cause = _storage_error(error, kinds)
        if isinstance(error, TinyNASError) or cause is None:
            raise
        reason = str(getattr(cause, "orig", None) or cause).strip().partition("\n")[0]
        raise FileError(
            f"cannot use the study in {redact_password(url)}: {reason}; check that it exists and is not corrupt, then "
            "continue with --resume; or start a new search with another --storage"
        ) from None


def _storage_error(error: BaseException, kinds: tuple[type[Exception], ...]) -> BaseException | None:
    """Return the innermost exception of a storage, or of these kinds, among an exception and its causes.

    Optuna hides some of them.
    """
    innermost = None
    current: BaseException | None = error
    while current is not None:
        if isinstance(current, (OptunaError, SQLAlchemyError, kinds)):
            innermost = current
        current = current.__cause__ or current.__context__
    return innermost


def redact_password(url: str) -> str:
    """Return the URL or path of a storage without the password."""
    try:
        return make_url(url)._replace(password=None).render_as_string() if "://" in url else url
    except SQLAlchemyError:
        return url.partition("://")[0] + "://..."


def record_worker(study: optuna.Study, trial: FrozenTrial) -> None:
    """Record on a trial that this process evaluates it."""
    study._storage.set_trial_user_attr(trial._trial_id, _WORKER, f"{socket.gethostname()} {os.getpid()}")


def requeue_stale_trials(study: optuna.Study) -> None:
    """Fail the trials whose processes died, and queue their networks again. Call it between trials, not during one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)  # those of other machines, by their heartbeats
    for trial in study.get_trials(states=[TrialState.RUNNING]):
        if not _is_alive(trial):
            with contextlib.suppress(ValueError, OptunaError):  # another process has failed it already
                study.tell(trial.number, state=TrialState.FAIL)
                requeue(study, trial)


def requeue(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue the network of a trial without result again."""
    genes = trial.params if ARCH in trial.user_attrs else {}  # never an incomplete set of genes
    study.enqueue_trial(trial.system_attrs.get("fixed_params") or genes, user_attrs={REQUEUED: trial.number})


def _is_alive(trial: FrozenTrial) -> bool:
    """Return whether the process of a running trial is alive; one on another machine counts as alive."""
    if _WORKER not in trial.user_attrs:  # which is recorded right after the start
        started = trial.datetime_start or datetime.now()
        return datetime.now() - started < timedelta(seconds=_GRACE)
    host, process = trial.user_attrs[_WORKER].split()
    if host != socket.gethostname():
        return True
    if int(process) == os.getpid():
        return False  # this process is between trials
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


class _Database(RDBStorage):
    """A database in which two processes never start the same queued trial."""

    def __init__(self, url: str) -> None:
        url = url.replace("postgresql://", "postgresql+psycopg://", 1)  # the driver of the extra `distributed`
        is_sqlite = make_url(url).get_backend_name() == "sqlite"
        engine_kwargs: dict[str, Any] = {"pool_pre_ping": True}
        if is_sqlite:
            engine_kwargs["connect_args"] = {"isolation_level": None, "timeout": _LOCK_TIMEOUT}
        super().__init__(
            url,
            engine_kwargs=engine_kwargs,
            heartbeat_interval=_HEARTBEAT,
            grace_period=_GRACE,
            heartbeat_stale_trial_callback=requeue,
        )
        if is_sqlite:
            event.listen(self.engine, "begin", _begin_immediate)

    def record_heartbeat(self, trial_id: int) -> None:
        """Record a heartbeat. Errors are ignored in this thread; the search itself reports a database that fails."""
        with contextlib.suppress(OptunaError, SQLAlchemyError):
            super().record_heartbeat(trial_id)


def _begin_immediate(connection: Connection) -> None:
    """Begin a transaction in SQLite that locks the database before it reads.

    SQLite has no SELECT ... FOR UPDATE: otherwise two processes that read a queued trial together both start it.
    """
    connection.exec_driver_sql("BEGIN IMMEDIATE")


class _Journal(JournalFileBackend):
    """A journal file that survives a killed writer: an unfinished last line is cut off before the next is appended."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._lock_file = FileLock(path.with_name(f".{path.name}.lock"))  # released when its holder dies
        super().__init__(str(path), self._lock_file)  # type: ignore[arg-type]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with _as_storage_error(), self._lock_file:
            with open(self._path, "rb+") as file:  # raises if the file is gone, unlike "ab"
                _cut_unfinished_line(file)
            super().append_logs(logs)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        with _as_storage_error():
            yield from super().read_logs(log_number_from)


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
    except (OSError, ValueError) as error:
        raise optuna.exceptions.StorageInternalError(str(error)) from error
