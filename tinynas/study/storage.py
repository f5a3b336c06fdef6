"""Where an Optuna study is kept, and the processes that work on it together."""

import contextlib
import os
import socket
import time
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ..utils.errors import FileError, InputError, TinyNASError

optuna.logging.set_verbosity(optuna.logging.ERROR)


ARCH = "arch"  # user attribute of a trial whose parameters are all drawn
AGAIN = "again"  # user attribute of a trial that stands for one whose process died
_WORKER = "worker"  # user attribute of a trial: the process that evaluates it
_HEARTBEAT = 10  # seconds between the signs of life of a trial in a database
_GRACE = 60  # seconds without one, after which it counts as dead


def open_storage(where: str) -> BaseStorage:
    """A database by its URL (sqlite:///..., postgresql://...), or a journal file by its path.

    Raises InputError for a URL that cannot be used, FileError for a study that cannot.
    """
    with warnings.catch_warnings(), told(where, OSError, ValueError, KeyError):
        warnings.simplefilter("ignore", ExperimentalWarning)
        if "://" not in where:
            return JournalStorage(_Journal(Path(where)))
        try:
            try:
                return _open_database(where)
            except DBAPIError:  # another process was making the tables
                time.sleep(1)
                return _open_database(where)
        except ImportError as error:
            driver = getattr(error.__cause__, "name", None) or "a driver"
            advice = "pip install 'tinynas[distributed]' brings PostgreSQL's"
            raise InputError(f"the storage {public(where)} needs {driver}, which is not installed; {advice}") from None
        except ValueError as error:
            raise InputError(f"cannot read the storage {public(where)}: {error}") from None


def _open_database(url: str) -> BaseStorage:
    return RDBStorage(
        url.replace("postgresql://", "postgresql+psycopg://", 1),  # the driver that the extra brings
        engine_kwargs={"pool_pre_ping": True},
        heartbeat_interval=_HEARTBEAT,
        grace_period=_GRACE,
        heartbeat_stale_trial_callback=queue_again,
    )


@contextlib.contextmanager
def told(where: str, *kinds: type[Exception]) -> Iterator[None]:
    """Turns what a storage raises, and these kinds of exceptions, into FileError."""
    try:
        yield
    except Exception as error:
        causes = [e for e in _chain(error) if isinstance(e, (OptunaError, SQLAlchemyError, *kinds))]
        if isinstance(error, TinyNASError) or not causes:
            raise
        reason = str(getattr(causes[-1], "orig", None) or causes[-1]).strip().partition("\n")[0]
        advice = "see that it is there and whole, then go on with --resume; or search anew with another --storage"
        raise FileError(f"cannot use the study in {public(where)}: {reason}; {advice}") from None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those it came out of: Optuna loses sight of some."""
    while error:
        yield error
        error = error.__cause__ or error.__context__


def public(where: str) -> str:
    """A storage's name without the password in it."""
    try:
        return make_url(where)._replace(password=None).render_as_string() if "://" in where else where
    except SQLAlchemyError:
        return where.partition("://")[0] + "://..."


def sign(study: optuna.Study, trial: FrozenTrial) -> None:
    """Note on a trial that this process evaluates it."""
    study._storage.set_trial_user_attr(trial._trial_id, _WORKER, f"{socket.gethostname()} {os.getpid()}")


def revive(study: optuna.Study) -> None:
    """End the trials whose processes died, and queue their networks again. Not to be called during a trial."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)  # those of other machines, by their heartbeats
    for trial in study.get_trials(states=[TrialState.RUNNING]):
        if not _lives(trial):
            with contextlib.suppress(ValueError, OptunaError):  # another process has seen it too
                study.tell(trial.number, state=TrialState.FAIL)
                queue_again(study, trial)


def queue_again(study: optuna.Study, trial: FrozenTrial) -> None:
    """Have the network of a trial without a result evaluated by another trial."""
    params = trial.params if ARCH in trial.user_attrs else {}  # not the first few of all genes
    study.enqueue_trial(trial.system_attrs.get("fixed_params") or params, user_attrs={AGAIN: trial.number})


def _lives(trial: FrozenTrial) -> bool:
    """Whether the process of a running trial is alive; one on another machine is taken to be."""
    if _WORKER not in trial.user_attrs:  # a process signs at once
        started = trial.datetime_start or datetime.now()
        return datetime.now() - started < timedelta(seconds=_GRACE)
    host, process = trial.user_attrs[_WORKER].split()
    if host != socket.gethostname():
        return True
    if int(process) == os.getpid():
        return False  # this process is at no trial now
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


class _Journal(JournalFileBackend):
    """A journal file whose last line, if a killed process left it unfinished, is cut off before the next is added."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._locked = FileLock(path.with_name(f".{path.name}.lock"))  # opens when its holder dies
        super().__init__(str(path), self._locked)  # type: ignore[arg-type]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with _as_storage_error(), self._locked:
            with open(self._path, "rb+") as file:  # an error if the file is gone
                if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read())[1] != b"\n":
                    file.seek(0)
                    file.truncate(file.read().rfind(b"\n") + 1)
            super().append_logs(logs)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        with _as_storage_error():
            yield from super().read_logs(log_number_from)


@contextlib.contextmanager
def _as_storage_error() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise optuna.exceptions.StorageInternalError(str(error)) from error
