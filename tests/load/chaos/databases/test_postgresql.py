"""Tests the PostgreSQL server of a run: its locks, crashes and checks, and the proxy that loses answers."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from signal import SIGKILL, SIGQUIT
from typing import Any

import psycopg
import pytest

from load.chaos.databases.disk import NotPossible
from load.chaos.databases.postgresql import PostgresqlDatabase
from load.chaos.inspection.audit import audit_database
from load.chaos.report import MISSING, REPEATED, STUCK, TOTALS, UNDELIVERED, WRONG, Findings
from load.chaos.servers.takeover import TakeoverWatch
from load.chaos.target import orders_for
from load.orders.generated import SentOrders
from models.clock import Clock
from models.database.address import PostgresqlUrl
from models.postgresql.opening import open_postgresql_store
from tests.handlers.running_api import turn_of_the_loop
from tests.load.chaos.inspection.test_audit import GOOD_METRICS, ORDERS
from tests.load.steps import meanwhile
from tests.postgresql.databases import execute
from tests.postgresql.programs import installed_programs
from tests.postgresql.server import need_postgresql
from tests.process import DEADLINE_S

pytestmark = pytest.mark.postgresql

ADD_ORDERS = """
INSERT INTO orders SELECT each, {first} + each, 1, 5, 1000000, '[1]' FROM generate_series(0, 4) AS each;
INSERT INTO ends SELECT each, 1250000, 1000000, 1, 1, 'c' FROM generate_series(0, 4) AS each;
INSERT INTO blocks VALUES (0, 0, 1000000, 1000000);
UPDATE totals SET completed = 5, processing_us = 1250000"""
REMOVE_ORDERS = """
DROP EXTENSION IF EXISTS amcheck;
TRUNCATE orders, work, ends, blocks;
DELETE FROM totals;
INSERT INTO totals VALUES (0)"""
STORE = "INSERT INTO totals (node) VALUES (77)"
IS_STORED = "SELECT count(*) FROM totals WHERE node = 77"
Connection = psycopg.Connection[Any]
Problems = dict[str, list[tuple[str, int]]]


def new_database(folder: Path) -> "CountingDatabase":
    need_postgresql()
    programs = installed_programs()
    assert programs is not None
    own = folder / "run" / "record"
    own.mkdir(parents=True)
    return CountingDatabase(own, programs=programs)


class CountingDatabase(PostgresqlDatabase):
    """A database that counts how often it was connected to."""

    connects = 0

    @contextmanager
    def connect(self, *, is_read_only: bool = False, timeout_s: float = 0.0) -> Iterator[Connection]:
        self.connects += 1
        with super().connect(is_read_only=is_read_only, timeout_s=timeout_s) as connection:
            yield connection


@pytest.fixture(scope="module")
def database(open_folder: Path) -> Iterator[CountingDatabase]:
    """A server with the tables of the program. The proxy has ended."""
    database = new_database(open_folder)
    asyncio.run(database.open())
    open_postgresql_store(PostgresqlUrl(database.server.url), clock=Clock())
    yield database
    database.close()
    assert not database.server.folder.exists()


@pytest.fixture
def connection(database: PostgresqlDatabase) -> Iterator[Connection]:
    with database.connect() as connection:
        yield connection


@pytest.fixture
def ledger(connection: Connection) -> Iterator[SentOrders]:
    """The record of five orders that are stored, and Completed after a quarter of a second."""
    ledger = SentOrders(orders_for(seed=1, name="record"))
    ledger.note_acknowledged(ledger.take(ORDERS))
    execute(connection, ADD_ORDERS.format(first=ledger.orders.order_id(0)))
    yield ledger
    execute(connection, REMOVE_ORDERS)


def audit(database: PostgresqlDatabase, ledger: SentOrders, delivered: dict[int, int] | None = None) -> Problems:
    findings = Findings(target="record")
    audit_database(database, ledger, findings, metrics=GOOD_METRICS, delivered=delivered)
    return {row: problems for row, problems in findings.problems.items() if problems}


def test_a_correct_database_has_no_problems(database: PostgresqlDatabase, ledger: SentOrders) -> None:
    assert audit(database, ledger, {ledger.orders.order_id(index): 1 for index in range(ORDERS)}) == {}


def test_problems_of_orders_are_found(database: PostgresqlDatabase, connection: Connection, ledger: SentOrders) -> None:
    first, second, third, *_ = [ledger.orders.order_id(index) for index in range(ORDERS)]
    execute(connection, "DELETE FROM orders WHERE sequence = 0; DELETE FROM ends WHERE sequence = 0")
    execute(connection, "UPDATE ends SET status = 'f' WHERE sequence = 1")
    found = audit(database, ledger, {second: 2, third: 1})
    assert (found[MISSING], found[STUCK]) == ([("", first)], [("Failed", second)])
    assert found[REPEATED] == [("delivered 2 times, claimed 1 times", second)]
    assert [order_id for _, order_id in found[UNDELIVERED]] == [third + 1, third + 2]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("INSERT INTO work VALUES (1, 1000000, NULL, NULL, NULL, 1, 1)", "is not in one of the tables work and ends"),
        ("DELETE FROM ends WHERE sequence = 4", "is not in one of the tables work and ends"),
        ("UPDATE blocks SET first_us = 1000001", "a block does not agree with its orders"),
        ("DELETE FROM blocks", "a block does not agree with its orders"),
        (
            "DELETE FROM ends WHERE sequence = 4; INSERT INTO work VALUES (4, 1000000, 99, 1, NULL, 1, 1)",
            "a server that does not exist processes an order",
        ),
        ("UPDATE totals SET completed = 6", "totals has completed 6, counted 5"),
    ],
)
def test_tables_that_do_not_agree_are_found(
    change: str, text: str, database: PostgresqlDatabase, connection: Connection, ledger: SentOrders
) -> None:
    execute(connection, change)
    assert any(text in found for found, _ in audit(database, ledger)[TOTALS])


def test_a_damaged_index_is_found(database: PostgresqlDatabase, connection: Connection, ledger: SentOrders) -> None:
    # With another function, the entries of the index are wrong.
    function = "CREATE OR REPLACE FUNCTION of(bigint) RETURNS bigint IMMUTABLE LANGUAGE sql AS 'SELECT {}$1'"
    execute(connection, function.format(""))
    execute(connection, "CREATE INDEX wrong ON orders (of(order_id))")
    execute(connection, function.format("-"))
    try:
        [(text, _)] = audit(database, ledger)[WRONG]
        assert text.startswith("amcheck: ")
    finally:
        execute(connection, "DROP FUNCTION of CASCADE")


@pytest.mark.parametrize(
    "end",
    [
        "UPDATE work SET node = NULL, claims = 2; UPDATE work SET node = 2",
        "DELETE FROM work",
    ],
)
def test_a_wait_lasts_until_each_order_of_the_server_is_claimed_again_or_has_ended(
    end: str, database: CountingDatabase, connection: Connection
) -> None:
    watch = TakeoverWatch(database)
    execute(connection, "INSERT INTO nodes VALUES (1, now(), now(), 'host:123', 8), (2, now(), now(), 'host:23', 8)")
    execute(connection, "INSERT INTO work VALUES (1, 0, 1, 0, NULL, 0, 1), (2, 0, 2, 0, NULL, 0, 1)")

    async def until_read_again() -> None:
        # The first query ends before the second connection.
        seen = database.connects
        while database.connects < seen + 2:
            await turn_of_the_loop()

    async def run() -> None:
        watch.begin(123)
        await until_read_again()
        # Another server takes over, but does not claim the order yet.
        execute(connection, "UPDATE work SET node = NULL WHERE sequence = 1")
        await until_read_again()
        assert watch.longest_s == 0
        execute(connection, end)
        while not watch.longest_s:
            await turn_of_the_loop()

    try:
        asyncio.run(asyncio.wait_for(run(), DEADLINE_S))
    finally:
        execute(connection, "TRUNCATE nodes, work")


def test_a_held_lock_blocks_writers_until_the_run_ends(database: PostgresqlDatabase, connection: Connection) -> None:
    ended, is_held = threading.Event(), []
    with meanwhile(lambda: is_held.append(database.hold_lock(length_s=30, ended=ended))):
        while not execute(connection, "SELECT 1 FROM pg_locks WHERE mode = 'ShareLock' AND granted"):
            pass
        with pytest.raises(psycopg.errors.LockNotAvailable), connection.transaction():
            execute(connection, "SET LOCAL lock_timeout = '10ms'; UPDATE nodes SET name = ''")
        ended.set()
    assert is_held == [True]


def test_maintenance_is_counted_by_result(database: PostgresqlDatabase, connection: Connection) -> None:
    assert database.checkpoint(["CHECKPOINT", "ANALYZE"], reader_s=0, ended=threading.Event()) == {"done": 2}
    with connection.transaction():
        execute(connection, "LOCK TABLE work")
        results = database.checkpoint(["VACUUM work"], reader_s=0.01, ended=threading.Event())
    assert results == {"busy": 1}


@pytest.mark.parametrize("number", [SIGQUIT, SIGKILL])
def test_a_crash_can_be_repeated(number: Any, database: PostgresqlDatabase) -> None:
    database.server.stop(number)
    assert not database.hold_lock(length_s=0, ended=threading.Event())
    [result] = database.checkpoint(["CHECKPOINT"], reader_s=0, ended=threading.Event())
    assert "Is the server running" not in result
    database.server.start()
    with database.connect() as connection:
        assert execute(connection, IS_STORED) == [(0,)]


def test_connections_of_the_server_alone_are_killed_or_ended(database: PostgresqlDatabase) -> None:
    assert not database.kill_backend(Random(1))
    assert database.terminate_backends() == 0
    url = f"{database.server.url}&application_name=orders"
    with psycopg.connect(url) as first, database.connect() as other:
        assert database.terminate_backends() == 1
        assert execute(other, "SELECT 1") == [(1,)]
        with pytest.raises(psycopg.OperationalError):
            execute(first, "SELECT 1")
    with psycopg.connect(url) as second:
        assert database.kill_backend(Random(1))
        with pytest.raises(psycopg.OperationalError):
            execute(second, "SELECT 1")
    database.wait_until_connected()


def test_the_disk_is_full_until_the_end_of_the_block(database: PostgresqlDatabase, connection: Connection) -> None:
    fill = "CREATE TABLE filling AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)"
    try:
        with database.full_disk(), pytest.raises(psycopg.errors.DiskFull):
            execute(connection, fill)
    except NotPossible as reason:
        pytest.skip(str(reason))
    execute(connection, fill)
    execute(connection, "DROP TABLE filling")


def test_the_proxy_loses_an_answer_after_postgresql_has_acted(open_folder: Path) -> None:
    database = new_database(open_folder / "proxied")

    async def run() -> None:
        await database.open()
        [proxy] = database.proxies
        async with await connect(database.server.url) as observer:
            await observer.execute("CREATE TABLE totals (node bigint)")
            async with await connect(database.addresses[0]) as proxied:
                assert (proxy.cut(), proxy.forget_cuts()) == (1, 1)
                await proxied.execute("SELECT 1")
                proxy.cut()
                with pytest.raises(psycopg.OperationalError):
                    await proxied.execute(STORE)
                assert proxy.forget_cuts() == 0
            assert await (await observer.execute(IS_STORED)).fetchone() == (1,)
            async with await connect(database.addresses[0]) as proxied:
                stalling = asyncio.create_task(proxy.stall(0.1))
                await turn_of_the_loop()
                await proxied.execute(STORE)
                assert stalling.done()
                assert await stalling == 1
                refusing = asyncio.create_task(proxy.refuse(0.1))
                await turn_of_the_loop()
                with pytest.raises(psycopg.OperationalError):
                    await proxied.execute("SELECT 1")
                with pytest.raises(psycopg.OperationalError):
                    await connect(database.addresses[0])
                assert await refusing == 1
            async with await connect(database.addresses[0]):
                pass

    try:
        asyncio.run(run())
    finally:
        database.close()


async def connect(url: str) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(url, autocommit=True)
