"""A gRPC server between many workers and a database, which then needs few connections."""

import socket
import warnings
from collections.abc import Callable
from importlib import import_module

from optuna.exceptions import ExperimentalWarning
from optuna.storages import get_storage, run_grpc_proxy_server

from ..utils.errors import InputError
from .shared_study import Retries
from .storage import open_storage, quiet_optuna, redact_password

_ALL_ADDRESSES = ("0.0.0.0", "::")
_CONNECTIONS = 10  # as many as the server has threads
_TIMEOUT = 600.0  # seconds for which a database that cannot be reached is tried again


def run_storage_proxy(url: str, *, host: str, port: int, note: Callable[[str], None]) -> None:
    """Serve a database to workers that search with --storage grpc://HOST:PORT, until Ctrl-C.

    Args:
        url: URL of the database.
        host: Address to listen on, "0.0.0.0" for all of this machine.
        port: Port to listen on.
        note: Called with one line when the database is open and the port is free.

    Raises:
        InputError: The storage is no database, gRPC is not installed, or the port cannot be used.
        FileError: The database cannot be used.
    """
    if "://" not in url or url.startswith("grpc://"):
        raise InputError(
            f"the storage {url} is no database; give the URL of a database, e.g. postgresql://HOST/DATABASE"
        )
    _check_grpc()
    _check_port(host, port)
    retries = Retries(url=url, timeout=_TIMEOUT, note=note)
    database = retries.call(lambda: open_storage(url, connections=_CONNECTIONS))
    storage = get_storage(database)  # which adds a cache of finished trials
    reached_by = socket.gethostname() if host in _ALL_ADDRESSES else host
    note(f"serving {redact_password(url)}; search with --storage grpc://{reached_by}:{port}; Ctrl-C ends it")
    with warnings.catch_warnings(), quiet_optuna():
        warnings.simplefilter("ignore", ExperimentalWarning)
        try:
            run_grpc_proxy_server(storage, host=host, port=port)
        except KeyboardInterrupt:
            return


def _check_grpc() -> None:
    """Raise InputError if gRPC is not installed."""
    try:
        for module in ("grpc", "google.protobuf"):
            import_module(module)
    except ImportError as error:
        raise InputError(
            f"a storage proxy needs {error.name}, which is not installed; pip install 'tinynas[distributed]'"
        ) from None


def _check_port(host: str, port: int) -> None:
    """Raise InputError if the port cannot be bound; gRPC shares one with another proxy, or fails without a reason."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        with socket.socket(addresses[0][0], socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
    except OSError as error:
        raise InputError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --host or --port") from None
