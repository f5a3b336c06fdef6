"""The storage behind a gRPC proxy, as a worker uses it."""

from typing import Any
from urllib.parse import urlsplit

import optuna
from optuna.storages import BaseStorage

_DEADLINE = 120.0  # seconds for an answer; Optuna's client would wait for a dead server for ever


def open_proxy(url: str) -> BaseStorage:
    """Return the storage behind the proxy at grpc://HOST:PORT. Nothing is connected yet.

    Raises:
        ValueError: The URL has no host or no port.
        ImportError: gRPC is not installed.
    """
    import grpc  # type: ignore[import-untyped]

    address = urlsplit(url)
    if not address.hostname or not address.port:
        raise ValueError("expected grpc://HOST:PORT")

    class WithDeadline(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]
        """Gives every call a deadline."""

        def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
            """Continue a call with a deadline."""
            return continuation(client_call_details._replace(timeout=_DEADLINE), request)

    class Proxy(optuna.storages.GrpcStorageProxy):
        """Optuna's client, whose calls have a deadline."""

        def _setup(self) -> None:
            super()._setup()
            channel = grpc.intercept_channel(self._channel, WithDeadline())
            self._stub = type(self._stub)(channel)
            self._cache = type(self._cache)(self._stub)

    return Proxy(host=address.hostname, port=address.port)
