"""The command that serves a database of studies to many workers."""

from typing import Annotated

import typer

from .screen import Screen


def storage_proxy(
    storage: Annotated[
        str, typer.Option(metavar="URL", help="Database of the studies, e.g. postgresql://USER@HOST/DATABASE.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0: all of this machine.")] = "localhost",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 13000,
) -> None:
    """Serve a database to hundreds of workers, which search with --storage grpc://HOST:PORT; Ctrl-C ends it.

    Whoever reaches the port can read and write the studies: there is no password. Keep it inside the cluster's network.
    """
    from tinynas.study.storage_proxy import run_storage_proxy

    run_storage_proxy(storage, host=host, port=port, note=Screen().note)
