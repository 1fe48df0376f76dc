"""The pipeline of a connection sends its statements together."""

import pytest

from models.postgresql.connection.bounded import BoundedConnection
from tests.postgresql.databases import connect, execute, temporary_database

pytestmark = pytest.mark.postgresql

TRIES = 100
"""After this number of round trips, PostgreSQL would have executed a statement that was sent before them."""


def test_a_pipeline_sends_nothing_until_a_result_is_needed() -> None:
    with (
        temporary_database() as url,
        BoundedConnection.connect(url, autocommit=True) as connection,
        connect(url) as other,
    ):
        with connection.pipeline() as pipeline:
            connection.execute("BEGIN")
            connection.execute("SELECT pg_advisory_xact_lock(1)")
            found = connection.execute("SELECT 5")
            for _ in range(TRIES):
                assert execute(other, "SELECT pg_try_advisory_lock(1), pg_advisory_unlock(1)") == [(True, True)]
            assert found.fetchone() == (5,)
            assert execute(other, "SELECT pg_try_advisory_lock(1)") == [(False,)]
            connection.execute("COMMIT")
            pipeline.sync()
        assert execute(other, "SELECT pg_try_advisory_lock(1)") == [(True,)]
