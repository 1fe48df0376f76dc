"""A pipeline sends statements together, and reports the first error."""

from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from models.postgresql.connection.bounded import BoundedConnection
from models.postgresql.connection.pipeline import StatementPipeline
from tests.postgresql.databases import connect, execute, temporary_database

pytestmark = pytest.mark.postgresql

TRIES = 100
"""After this number of round trips, PostgreSQL would have executed a statement that was sent before them."""


@pytest.fixture
def url() -> Iterator[str]:
    with temporary_database() as url:
        yield url


@pytest.fixture
def connection(url: str) -> Iterator[BoundedConnection]:
    with BoundedConnection.connect(url, autocommit=True) as connection:
        yield connection


def test_a_pipeline_sends_nothing_until_a_result_is_needed(url: str, connection: BoundedConnection) -> None:
    with connect(url) as other:
        with StatementPipeline(connection) as pipeline:
            pipeline.execute("BEGIN")
            pipeline.execute("SELECT pg_advisory_xact_lock(1)")
            found = pipeline.execute("SELECT 5")
            for _ in range(TRIES):
                assert execute(other, "SELECT pg_try_advisory_lock(1), pg_advisory_unlock(1)") == [(True, True)]
            assert found.fetchone() == (5,)
            assert execute(other, "SELECT pg_try_advisory_lock(1)") == [(False,)]
            pipeline.execute("COMMIT")
            pipeline.sync()
        assert execute(other, "SELECT pg_try_advisory_lock(1)") == [(True,)]


def test_parameters_and_columns_of_each_type(connection: BoundedConnection) -> None:
    statement = """SELECT %(number)s + 2::bigint, %(text)s::text, NOT %(flag)s, %(flag)s, %(amount)s::numeric,
        %(nothing)s::bigint, %(text)s::text || %(text)s::text"""
    values = {"number": 2**62, "text": "a 'ä' %s $1", "flag": True, "amount": Decimal("1.50"), "nothing": None}
    with StatementPipeline(connection) as pipeline:
        found = pipeline.execute(statement, values).fetchone()
    assert found == (2**62 + 2, "a 'ä' %s $1", False, True, Decimal("1.50"), None, "a 'ä' %s $1" * 2)
    assert [type(each) for each in found] == [int, str, bool, bool, Decimal, type(None), str]


def test_a_statement_is_prepared_once(connection: BoundedConnection) -> None:
    for number in range(3):
        with StatementPipeline(connection) as pipeline:
            assert pipeline.execute("SELECT %(number)s + 0", {"number": number}).fetchone() == (number,)
            assert pipeline.execute("SELECT 1 WHERE false").fetchone() is None
    assert len(connection.prepared) == len(execute(connection, "SELECT name FROM pg_prepared_statements")) == 2


def test_the_first_error_of_a_part_is_raised_and_its_other_statements_do_nothing(connection: BoundedConnection) -> None:
    with StatementPipeline(connection) as pipeline:
        pipeline.execute("BEGIN")
        before = pipeline.execute("SELECT 1")
        pipeline.execute("SELECT 1 / %(number)s", {"number": 0})
        after = pipeline.execute("SELECT 'not a number'::text::integer")
        with pytest.raises(psycopg.errors.DivisionByZero) as raised:
            after.fetchone()
        assert raised.value.diag.severity_nonlocalized == "ERROR"
        assert before.fetchone() == (1,)
        pipeline.execute("ROLLBACK")
        assert pipeline.execute("SELECT 1 / %(number)s", {"number": 1}).fetchone() == (1,)
        # PostgreSQL has skipped the preparation of this one.
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            pipeline.execute("SELECT 'not a number'::text::integer").fetchone()
    assert connection.info.transaction_status == TransactionStatus.IDLE


def test_the_end_of_a_pipeline_collects_results_that_nobody_has_read(connection: BoundedConnection) -> None:
    with suppress(LookupError), StatementPipeline(connection) as pipeline:
        pipeline.execute("BEGIN")
        pipeline.execute("SELECT 1")
        raise LookupError
    assert connection.info.transaction_status == TransactionStatus.INTRANS
    connection.execute("ROLLBACK")
    assert execute(connection, "SELECT 5") == [(5,)]


def test_large_statements_and_results_pass_at_once(connection: BoundedConnection) -> None:
    text = "x" * 5_000_000
    with StatementPipeline(connection) as pipeline:
        results = [pipeline.execute("SELECT %(text)s::text", {"text": text}) for _ in range(3)]
        assert all(result.fetchone() == (text,) for result in results)


def test_a_fatal_error_says_why_the_connection_was_closed(connection: BoundedConnection) -> None:
    with StatementPipeline(connection) as pipeline:
        pipeline.execute("BEGIN")
        pipeline.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        pipeline.execute("COMMIT")
        with pytest.raises(psycopg.errors.AdminShutdown) as raised:
            pipeline.sync()
    assert raised.value.diag.severity_nonlocalized == "FATAL"
    assert connection.closed


def test_a_connection_that_was_closed_before_raises(url: str, connection: BoundedConnection) -> None:
    with connect(url) as other:
        execute(other, "SELECT pg_terminate_backend(%s, 10000)", connection.info.backend_pid)
    with StatementPipeline(connection) as pipeline:
        pipeline.execute("BEGIN")
        with pytest.raises(psycopg.OperationalError):
            pipeline.sync()
    assert connection.closed
