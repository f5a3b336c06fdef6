"""A PostgreSQL server in a temporary folder, on a port of the loopback interface."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

_DEBIAN = Path("/usr/lib/postgresql")  # PROGRAM is in VERSION/bin, which is not in PATH
_ACCOUNT = "postgres"  # runs the server in place of root, whom PostgreSQL refuses
_USER, _PASSWORD = "tinynas", "pass-word"


def missing_postgres() -> str | None:
    """Return why no server can be started, in one line, or None if it can."""
    if _bin_folder() is None:
        return "PostgreSQL is not installed; install it, e.g. apt-get install postgresql"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed; pip install 'tinynas[distributed]'"
    return None


def _bin_folder() -> Path | None:
    """Return the folder of PostgreSQL's programs, of the newest version."""
    in_path = shutil.which("initdb")
    if in_path:
        return Path(in_path).resolve().parent
    versions = []
    for program in _DEBIAN.glob("*/bin/initdb"):
        versions.append((float(program.parts[-3]), program.parent))
    return max(versions)[1] if versions else None


class PostgresServer:
    """A PostgreSQL cluster of its own, with a password, which is deleted at the end of the context.

    Args:
        connections: Largest number of connections.

    Raises:
        RuntimeError: PostgreSQL or its driver is not installed, or the server does not start.
    """

    def __init__(self, *, connections: int = 200) -> None:
        missing = missing_postgres()
        if missing:
            raise RuntimeError(missing)
        self.connections = connections
        self._bin = _bin_folder()
        self._account = {"user": _ACCOUNT, "group": _ACCOUNT, "extra_groups": []} if os.getuid() == 0 else {}
        self._port = _unused_port()
        self._folder = Path()

    @property
    def url(self) -> str:
        """URL of the server's database, with the password."""
        return f"postgresql://{_USER}:{_PASSWORD}@127.0.0.1:{self._port}/postgres"

    @property
    def password(self) -> str:
        """The password of the user in the URL."""
        return _PASSWORD

    def __enter__(self) -> "PostgresServer":
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        try:
            if self._account:
                shutil.chown(self._folder, _ACCOUNT, _ACCOUNT)
            self._create_cluster()
            self.start()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop(immediate=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start the server, and wait until it takes connections."""
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder}"
        options += f" -c max_connections={self.connections}"
        self._run("pg_ctl", "start", "-w", "-D", self._data, "-l", self._folder / "log", "-o", options)

    def stop(self, *, immediate: bool = False) -> None:
        """Stop the server, and wait until it has ended; `immediate` as if it crashed. No error if it does not run."""
        mode = "immediate" if immediate else "fast"
        self._run("pg_ctl", "stop", "-w", "-m", mode, "-D", self._data, check=False)

    def restart(self, *, pause: float = 0.0, immediate: bool = False) -> None:
        """Stop the server, and start it after a pause in seconds."""
        self.stop(immediate=immediate)
        time.sleep(pause)
        self.start()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _create_cluster(self) -> None:
        """Create the files of the server."""
        password_file = self._folder / "password"
        password_file.write_text(_PASSWORD + "\n")
        if self._account:
            shutil.chown(password_file, _ACCOUNT, _ACCOUNT)
        access = ["-U", _USER, "-A", "scram-sha-256", f"--pwfile={password_file}"]
        self._run("initdb", "-D", self._data, "--encoding=UTF8", "--locale=C", *access)

    def _run(self, program: str, *arguments: str | Path, check: bool = True) -> None:
        """Run a program of PostgreSQL.

        Raises:
            RuntimeError: It failed.
        """
        command = [self._bin / program, *arguments]
        with open(self._folder / "output", "wb+") as output:  # no pipe, which the server would keep open
            ended = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self._folder, **self._account
            )
            output.seek(0)
            text = output.read().decode(errors="replace")
        if check and ended.returncode:
            raise RuntimeError(f"{program} failed with exit code {ended.returncode}: {' '.join(text.split())}")


def _unused_port() -> int:
    """Return a port of the loopback interface that no program listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
