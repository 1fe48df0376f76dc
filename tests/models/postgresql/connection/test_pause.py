"""After a long try without an answer, the next calls fail at once. They are tried if the connection was closed."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from models.database.address import PostgresqlUrl
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from tests.models.postgresql.engine import PostgresqlEngine
from tests.postgresql.databases import connect, execute
from tests.postgresql.proxy import Proxy

pytestmark = pytest.mark.postgresql

LONG_S = 5.0
ANSWER_S = 0.3


class Time:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@contextmanager
def connected(url: str, time: Time) -> Iterator[RetryingPostgresqlDatabase]:
    """A database whose calls are not retried."""
    database = RetryingPostgresqlDatabase(PostgresqlUrl(url), deadline_s=0, answer_s=ANSWER_S, clock=time)
    database.connect()
    try:
        yield database
    finally:
        database.close()


def fail(database: RetryingPostgresqlDatabase, time: Time) -> None:
    """Makes a call that takes long and fails."""

    def call() -> None:
        time.now_s += LONG_S
        database.psycopg_connection.execute("SELECT 1")

    with pytest.raises(psycopg.OperationalError):
        database.retry(call)


def test_a_call_is_tried_after_the_server_has_closed_the_connection_of_a_long_call(engine: PostgresqlEngine) -> None:
    time = Time()
    with connected(engine.url, time) as database, connect(engine.url) as other:
        backend = database.psycopg_connection.info.backend_pid
        assert execute(other, "SELECT pg_terminate_backend(%s)", backend) == [(True,)]
        fail(database, time)
        assert database.execute_sql("SELECT 2").fetchone() == (2,)


def test_calls_fail_at_once_after_a_long_call_without_an_answer(engine: PostgresqlEngine, proxy: Proxy) -> None:
    time = Time()
    with connected(proxy.url(engine.name), time) as database:
        with proxy.stall():
            fail(database, time)
        calls: list[int] = []
        with pytest.raises(psycopg.OperationalError, match="PostgreSQL has not answered"):
            database.retry(lambda: calls.append(1))
        time.now_s += LONG_S
        database.retry(lambda: calls.append(2))
        assert calls == [2]
