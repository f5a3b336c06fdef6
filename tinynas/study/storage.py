"""Where an Optuna study is stored: a journal file, a database, or a gRPC proxy of one; and what can go wrong there."""

import contextlib
import random
import re
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb.models import TrialParamModel
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from sqlalchemy.orm import Session

from ..utils.errors import FileError, InputError, TinyNASError
from ..utils.text import first_line
from .grpc_client import open_proxy
from .journal import Journal, JournalFileStorage

_RESUME = (  # what to do if a search cannot use its study
    "check that it exists and is not corrupt, then continue with --resume; or start a new search with another --storage"
)
_LOCK_TIMEOUT = 60  # seconds that a transaction waits for others to end, in SQLite
_OPENINGS = 5  # attempts to open a database whose tables other processes create
_CONNECT_TIMEOUT = 10  # seconds until an attempt to connect to PostgreSQL fails
_KEEPALIVE = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}  # a dead server is noticed in 60 s
_SECRETS = ("password", "passwd", "pwd", "secret", "token", "passfile")  # parts of names in a URL's query
_PERMANENT = ("does not exist", "authentication failed", "no pg_hba.conf entry", "could not translate host name")
_GRPC_RETRIED = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "UNKNOWN")  # UNKNOWN: the proxy's own database fails


def open_storage(url: str, *, connections: int = 2, advice: str = _RESUME) -> BaseStorage:
    """Open a database by its URL, a gRPC proxy (grpc://HOST:PORT), or a journal file by its path.

    Databases are those of SQLAlchemy: postgresql://..., sqlite:///...

    Args:
        url: The URL or path.
        connections: To a database, at most. A worker needs one, and for moments a second one, for its heartbeat.
        advice: What to do if the study in it cannot be used.

    Raises:
        InputError: The URL cannot be used.
        FileError: The study in it cannot be used.
    """
    with warnings.catch_warnings(), storage_errors(url, OSError, ValueError, KeyError, advice=advice):
        warnings.simplefilter("ignore", ExperimentalWarning)
        if _is_mistyped(url):
            raise InputError(f"the storage {redact_password(url)} is neither a path nor a URL; write SCHEME://...")
        if _is_ambiguous(url):
            raise InputError(f"the URL {redact_password(url)} has more than one @; write @ as %40, and / as %2F")
        if "://" not in url:
            return JournalFileStorage(Journal(Path(url)))
        try:
            return open_proxy(url) if url.startswith("grpc://") else _open_database(url, connections)
        except ImportError as error:
            driver = getattr(error.__cause__, "name", None) or getattr(error, "name", None) or "a driver"
            advice = "pip install 'tinynas[distributed]' installs PostgreSQL's and gRPC's"
            raise InputError(
                f"the storage {redact_password(url)} needs {driver}, which is not installed; {advice}"
            ) from None
        except ValueError as error:
            raise InputError(f"cannot read the storage {redact_password(url)}: {error}") from None


def _open_database(url: str, connections: int) -> BaseStorage:
    """Open a database; try again while other processes that start at the same time create its tables."""
    for _ in range(_OPENINGS - 1):
        try:
            return _Database(url, connections)
        except (DBAPIError, KeyError) as error:
            if is_transient(error):
                raise
            time.sleep(random.uniform(0.5, 1.5))
    return _Database(url, connections)


class _Database(RDBStorage):
    """A database in which two processes never write together, used by a limited number of connections."""

    def __init__(self, url: str, connections: int) -> None:
        url = url.replace("postgresql://", "postgresql+psycopg://", 1)  # the driver of the extra `distributed`
        backend = make_url(url).get_backend_name()
        engine_kwargs: dict[str, Any] = {"pool_pre_ping": True}
        if backend == "sqlite":
            engine_kwargs["connect_args"] = {"isolation_level": None, "timeout": _LOCK_TIMEOUT}
        else:
            engine_kwargs |= {"pool_size": 1, "max_overflow": connections - 1}  # the others are closed after use
        if backend == "postgresql":
            engine_kwargs["connect_args"] = {"connect_timeout": _CONNECT_TIMEOUT, **_KEEPALIVE}
        super().__init__(url, engine_kwargs=engine_kwargs)
        if backend == "sqlite":
            event.listen(self.engine, "begin", _begin_immediate)

    def _set_trial_param_without_commit(
        self,
        session: Session,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None = None,
    ) -> None:
        """Add a gene of a new trial, to be written with all others when the transaction is committed.

        Optuna reads two rows for every gene, to compare its distribution with those of other trials, while all other
        workers wait for the study. The genes of a study always have the same distributions.
        """
        session.add(
            TrialParamModel(
                trial_id=trial_id,
                param_name=param_name,
                param_value=param_value_internal,
                distribution_json=distribution_to_json(distribution),
            )
        )


def _begin_immediate(connection: Connection) -> None:
    """Begin a transaction in SQLite that locks the database before it reads.

    SQLite has no SELECT ... FOR UPDATE: otherwise two processes could give two trials the same number.
    """
    connection.exec_driver_sql("BEGIN IMMEDIATE")


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
def storage_errors(url: str, *kinds: type[Exception], advice: str = _RESUME) -> Iterator[None]:
    """Raise FileError, with advice, for the exceptions of a storage, and for exceptions of these further kinds.

    Those that may be over in a moment (`is_transient`) are raised as they are.
    """
    try:
        yield
    except Exception as error:
        cause = _storage_error(error, kinds)
        if isinstance(error, TinyNASError) or cause is None or is_transient(error):
            raise
        raise FileError(
            f"cannot use the study in {redact_password(url)}: {failure_reason(error, url, kinds)}; {advice}"
        ) from None


def failure_reason(error: BaseException, url: str, kinds: tuple[type[Exception], ...] = ()) -> str:
    """Return why a storage failed, as one line without the password in its URL."""
    cause = _storage_error(error, kinds) or error
    details = getattr(cause, "details", None)  # of gRPC
    text = str(getattr(cause, "orig", None) or (details() if callable(details) else cause))
    reason = first_line(text)
    for secret in _secrets(url):
        reason = reason.replace(secret, "***")
    return reason


def is_transient(error: BaseException) -> bool:
    """Return whether an exception of a storage may be over in a moment: a server restarts, or has no connection left.

    A wrong password, or a database that does not exist, is not.
    """
    cause = _storage_error(error, ())
    if isinstance(cause, NoConnectionError):
        return True
    if isinstance(cause, (OperationalError, InterfaceError)):
        text = str(cause.orig)
        if type(cause.orig).__module__.startswith("sqlite3"):
            return "is locked" in text
        return not any(part in text for part in _PERMANENT)
    if isinstance(cause, DBAPIError):
        return bool(cause.connection_invalidated)
    return _grpc_status(cause) in _GRPC_RETRIED


def _grpc_status(error: BaseException | None) -> str:
    """Return the name of the status of an exception of gRPC; an empty text for any other exception."""
    code = getattr(error, "code", None)
    return getattr(code(), "name", "") if _is_grpc_error(error) and callable(code) else ""


def _is_grpc_error(error: BaseException | None) -> bool:
    return type(error).__module__.startswith("grpc")


def _storage_error(error: BaseException, kinds: tuple[type[Exception], ...]) -> BaseException | None:
    """Return the innermost exception of a storage, or of these kinds, among an exception and its causes.

    Optuna hides some of them. That of a database's driver is the reason: what came before it was handled, such as a
    lost connection that SQLAlchemy replaced.
    """
    innermost = None
    current: BaseException | None = error
    while current is not None:
        if isinstance(current, DBAPIError):
            return current
        if isinstance(current, (OptunaError, SQLAlchemyError, *kinds)) or _is_grpc_error(current):
            innermost = current
        current = current.__cause__ or current.__context__
    return innermost


def redact_password(url: str) -> str:
    """Return the URL or path of a storage without passwords, neither USER:PASSWORD@ nor ?password=.

    Of a URL that cannot be read for sure, only what is before the first colon is returned.

    Example:
        >>> redact_password("postgresql://me:secret@host/nas?password=secret&sslmode=require")
        'postgresql://me@host/nas?sslmode=require'
    """
    if _is_mistyped(url):
        return url.partition(":")[0] + ":..."
    if "://" not in url:
        return url
    parsed = _parsed(url)
    if parsed is None or _is_ambiguous(url):
        return url.partition("://")[0] + "://..."
    public = {}
    for name, value in parsed.query.items():
        if not _is_secret(name):
            public[name] = value
    return parsed._replace(password=None, query=public).render_as_string()  # type: ignore[arg-type]


def _secrets(url: str) -> list[str]:
    """Return the passwords in a URL."""
    parsed = _parsed(url)
    if parsed is None:
        return []
    secrets = [str(parsed.password)] if parsed.password else []
    for name, value in parsed.query.items():
        if _is_secret(name):
            secrets += [value] if isinstance(value, str) else list(value)
    return secrets


def _parsed(url: str) -> URL | None:
    """Return the parts of a URL; None if it is none."""
    try:
        return make_url(url)
    except (SQLAlchemyError, ValueError):  # ValueError: the port is no number
        return None


def _is_mistyped(url: str) -> bool:
    """Return whether this was to be a URL, such as postgresql:/USER:PASSWORD@HOST."""
    return "://" not in url and re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", url) is not None


def _is_ambiguous(url: str) -> bool:
    """Return whether it is unclear where the password of a URL ends."""
    return "://" in url and url.partition("?")[0].count("@") > 1


def _is_secret(name: str) -> bool:
    return any(part in name.lower() for part in _SECRETS)
