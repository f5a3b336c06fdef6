"""A study in PostgreSQL: many processes at once, and a server that is away for a while."""

import os

import pytest
from common.postgres import PostgresServer, missing_postgres
from optuna.exceptions import StorageInternalError
from sqlalchemy import event

from helpers import SPACE
from tinynas.study.shared_study import Retries, SharedStudy
from tinynas.study.storage import failure_reason, is_transient, open_storage

if missing_postgres():
    pytest.skip(missing_postgres(), allow_module_level=True)


@pytest.fixture(scope="module")
def server():
    with PostgresServer() as server:
        yield server


def study_in(url, name):
    retries = Retries(url=url, timeout=60.0, note=print)
    return SharedStudy(url, name, num_options=SPACE.genes(), retries=retries)


def test_processes_that_start_together_create_the_tables_once():
    """Of 12 processes that open an empty database, the 11 that come too late wait."""
    with PostgresServer() as server:
        children = []
        for _ in range(12):
            child = os.fork()
            if not child:
                code = 1
                try:
                    open_storage(server.url)
                    code = 0
                finally:
                    os._exit(code)
            children.append(child)
        codes = [os.waitpid(child, 0)[1] for child in children]
    assert codes == [0] * 12


def test_trial_is_created_in_few_queries(server):
    """While a trial is created, all other workers wait for the lock on the study."""
    study = study_in(server.url, "queries")
    queries = []

    def count(connection, cursor, statement, *more):
        queries.append(statement)

    engine = study._storage._backend.engine
    event.listen(engine, "before_cursor_execute", count)
    study.begin(SPACE.encode(SPACE.max()), {"cost": {}}, {"macs": -1.0})
    engine.dispose()
    assert len(queries) < 15 < len(SPACE.genes())


def test_trial_keeps_its_genes(server):
    study = study_in(server.url, "genes")
    genes = SPACE.encode(SPACE.max())
    study.begin(genes, {}, {})
    other = study_in(server.url, "genes")
    (trial,) = other.trials()
    assert trial.params == genes
    assert other.has_genes(trial)
    for used in (study, other):
        used._storage._backend.engine.dispose()


def test_connection_lost_with_the_server_is_tried_again():
    """The reason is that the server is away, not that the pool has replaced the lost connection."""
    with PostgresServer() as server:
        storage = open_storage(server.url)
        storage.get_all_studies()
        server.stop()
        with pytest.raises(StorageInternalError) as error:
            storage.get_all_studies()
        assert is_transient(error.value)
        assert "connection failed" in failure_reason(error.value, server.url)
        server.start()
        assert storage.get_all_studies() == []
        storage.engine.dispose()
