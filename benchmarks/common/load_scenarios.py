"""Searches by many workers that are disturbed: killed, paused, without their database, with a full disk."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg

from .load_checks import check_search
from .load_search import EventLog, StubSearch
from .load_workers import Workers
from .postgres import PostgresServer

KILL_EVERY = 2.0  # seconds
_CRASH_AT, _RESTART_AT = 90.0, 180.0  # seconds after which the server crashes, and is restarted
_AWAY = 3.0  # seconds that a restarted server is away
_GRACE, _PAUSE, _PAUSE_EVERY = 3.0, 9.0, 3.0  # seconds; of workers that are paused
_DISK = "size=2m"
_FREE = 150_000  # bytes on the disk before it is full


def kill_on_postgres(folder: Path, workers: int, trials: int) -> dict[str, Any]:
    """Kill and replace a worker every two seconds, and restart the server twice."""
    connections = []
    with PostgresServer(connections=4 * workers) as server:
        search = StubSearch(storage=server.url, trials=trials, log=folder / "log")
        with Workers(search, workers) as processes:

            def disturb() -> None:
                processes.kill_and_replace()
                connections.append(_connections(server))

            def crash() -> None:
                server.restart(pause=_AWAY, immediate=True)

            def restart() -> None:
                server.restart(pause=_AWAY)

            seconds = processes.run(disturb, every=KILL_EVERY, at={_CRASH_AT: crash, _RESTART_AT: restart})
            checks = check_search(processes)
    summary = _summary(processes, seconds, checks)
    return summary | {"restarts": 2, "connections": max(connections)}


def kill_on_journal(folder: Path, workers: int, trials: int) -> dict[str, Any]:
    """Kill and replace a worker every two seconds; the study is a journal file."""
    search = StubSearch(storage=str(folder / "study.journal"), trials=trials, log=folder / "log")
    with Workers(search, workers) as processes:
        seconds = processes.run(processes.kill_and_replace, every=KILL_EVERY)
        return _summary(processes, seconds, check_search(processes))


def pause_on_journal(folder: Path, workers: int, trials: int) -> dict[str, Any]:
    """Pause a worker every three seconds, for three times as long as workers may be silent."""
    search = StubSearch(storage=str(folder / "study.journal"), trials=trials, log=folder / "log", grace=_GRACE)
    with Workers(search, workers) as processes:

        def disturb() -> None:
            processes.pause(_PAUSE)

        seconds = processes.run(disturb, every=_PAUSE_EVERY)
        return _summary(processes, seconds, check_search(processes))


def fill_disk(folder: Path, workers: int, trials: int) -> dict[str, Any]:
    """Let workers fill a small disk with a journal file, free some space, and let others finish the search.

    Returns:
        The summary of the second search, and:
        messages: Different messages with which the first workers ended, without what varies in them.
        kept: Evaluations in the study after the disk was full.
    """
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", _DISK, "tmpfs", disk], check=True)
    try:
        filler = disk / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(disk).free - _FREE))
        search = StubSearch(storage=str(disk / "study.journal"), trials=trials, log=folder / "log", sleeps=False)
        with Workers(search, workers) as processes:
            processes.wait()
            if processes.finished:
                raise RuntimeError("the disk was not filled; make it smaller")
        messages = set()
        for event in EventLog(search.log).read():
            if event["event"] == "error":
                messages.add(event["what"].replace(str(disk), "DISK"))
        filler.unlink()
        kept = check_search(processes)["trials"]
        with Workers(search, workers, first_number=workers) as others:
            began = time.monotonic()
            others.wait()
            summary = _summary(others, time.monotonic() - began, check_search(others))
        return summary | {"messages": sorted(messages), "kept": kept}
    finally:
        subprocess.run(["umount", disk], check=True)


def can_mount() -> bool:
    """Return whether this process may mount a disk of memory."""
    return os.getuid() == 0 and shutil.which("mount") is not None


def _summary(workers: Workers, seconds: float, checks: dict[str, Any]) -> dict[str, Any]:
    return {
        "workers": workers.count,
        "seconds": round(seconds, 1),
        "killed": len(workers.killed),
        "pauses": workers.pauses,
        **checks,
    }


def _connections(server: PostgresServer) -> int:
    """Return how many connections the workers have."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    try:
        with psycopg.connect(server.url) as connection:
            row = connection.execute(query).fetchone()
    except psycopg.OperationalError:  # all connections are in use, or the server is about to accept them
        return 0
    return row[0] if row else 0
