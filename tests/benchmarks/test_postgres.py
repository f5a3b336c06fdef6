"""The PostgreSQL server of tests and benchmarks."""

import pytest
from common.postgres import PostgresServer, missing_postgres

if missing_postgres():
    pytest.skip(missing_postgres(), allow_module_level=True)

import psycopg


def test_server_keeps_what_was_committed_when_it_crashes():
    with PostgresServer() as server:
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE kept (value INTEGER)")
        with psycopg.connect(server.url) as connection:
            connection.execute("INSERT INTO kept VALUES (7)")
        server.restart(immediate=True)
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT value FROM kept").fetchone() == (7,)
        server.stop()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.url)
    assert not server._folder.exists()


def test_server_asks_for_the_password():
    with PostgresServer() as server, pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.url.replace(server.password, "wrong"))
