"""The feed: each server reads the changes of all servers, in the same order and without a gap."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import psycopg
import pytest

from models.changes.feed import KEPT_CHANGES, FeedRead
from models.changes.order_changes import MAX_ERROR_CHARACTERS, OrderChange
from models.order import Status
from models.postgresql.attempts import claim
from models.postgresql.batch import apply_batch
from models.postgresql.database_time import DatabaseTime
from models.postgresql.feed.feed_statements import MAX_CHANGES
from models.postgresql.feed.length import STEP
from models.postgresql.nodes.lease import Lease
from models.postgresql.transactions import MAX_MADE_READY, Transactions
from models.writes.attempts import FinishAndClaim, Outcome
from models.writes.commands import Cancel, Retry, RetryOrders, RetrySelection
from models.writes.insertion import NewOrders
from tests.models.postgresql.engine import PostgresqlEngine
from tests.models.postgresql.feeds import (
    changes_of,
    has_no_changes,
    next_part,
    read_changes,
    read_statuses,
    statuses,
)
from tests.models.postgresql.two_servers import LEASE_S, Server, check
from tests.models.samples import Clock, new_order
from tests.postgresql.databases import connect, execute, temporary_database
from tests.process import wait_until

pytestmark = pytest.mark.postgresql

PENDING, PROCESSING = Status.PENDING, Status.PROCESSING
COMPLETED, FAILED, CANCELLED = Status.COMPLETED, Status.FAILED, Status.CANCELLED


@pytest.fixture
def other(engine: PostgresqlEngine) -> Iterator[psycopg.Connection[Any]]:
    """A connection of a program that is not a store."""
    with connect(engine.url) as connection:
        yield connection


@pytest.fixture
def reading(servers: tuple[Server, Server]) -> tuple[Server, Server]:
    """Two servers that have begun to read the feed."""
    for server in servers:
        assert next_part(server).rows == []
    return servers


@contextmanager
def open_transaction(url: str, *statements: str) -> Iterator[psycopg.Connection[Any]]:
    """A transaction that has an id. The test ends it, or the end of the block rolls it back."""
    with connect(url) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT pg_current_xact_id()")
        for statement in statements:
            execute(connection, statement)
        yield connection
        connection.execute("ROLLBACK")


def server_transaction(engine: PostgresqlEngine) -> AbstractContextManager[psycopg.Connection[Any]]:
    """A transaction of another server, which has begun as each transaction of a server does."""
    return open_transaction(engine.url, "UPDATE nodes SET beat = beat WHERE node = 0")


def add(connection: psycopg.Connection[Any], *order_ids: int) -> None:
    """Adds changes to the feed, as a server does at the end of its transaction."""
    changes = ",".join(f'[{order_id},1,"Pending",0,null]' for order_id in order_ids)
    execute(connection, "INSERT INTO feed (count, changes) VALUES (%s, %s)", len(order_ids), f"[{changes}]")


def row_count(connection: psycopg.Connection[Any]) -> int:
    [[count]] = execute(connection, "SELECT count(*) FROM feed")
    return int(count)


# What is recorded


def test_nothing_is_recorded_until_somebody_reads(
    other: psycopg.Connection[Any], servers: tuple[Server, Server]
) -> None:
    first, second = servers
    first.insert(new_order(1))
    assert row_count(other) == 0
    next_part(second)
    first.insert(new_order(2))
    assert row_count(other) == 1
    execute(other, "UPDATE feed_start SET until = now()")
    first.insert(new_order(3))
    assert row_count(other) == 1


def test_a_transaction_without_changes_adds_no_row(
    other: psycopg.Connection[Any], reading: tuple[Server, Server]
) -> None:
    for server in reading:
        server.claim()
        server.live(3)
        server.totals()
    assert row_count(other) == 0


def test_each_server_reads_the_changes_of_all_servers_in_the_same_order(
    engine: PostgresqlEngine, reading: tuple[Server, Server]
) -> None:
    first, second = reading
    first.write([NewOrders([new_order(1, user_id=7), new_order(2)]), new_order(3)])
    second.write([Cancel(2), FinishAndClaim([], 5)])
    one, three = second.find_one(1), second.find_one(3)
    ends = [Outcome(one.sequence, 1, COMPLETED), Outcome(three.sequence, 1, FAILED, "no")]
    second.write([FinishAndClaim(ends, 0, [one, three])])
    first.write([Retry(3)])
    expected = [
        OrderChange(1, 7, PENDING),
        OrderChange(2, 1, PENDING),
        OrderChange(3, 1, PENDING),
        OrderChange(2, 1, CANCELLED),
        OrderChange(1, 7, PROCESSING, 1),
        OrderChange(3, 1, PROCESSING, 1),
        OrderChange(1, 7, COMPLETED, 1),
        OrderChange(3, 1, FAILED, 1, "no"),
        OrderChange(3, 1, PENDING),
    ]
    parts = [next_part(server) for server in reading]
    assert [changes_of(part) for part in parts] == [expected] * 2
    assert parts[0].epoch == parts[1].epoch
    assert [[row.id for row in part.rows] for part in parts] == [[1, 2, 3, 4]] * 2
    assert all(map(has_no_changes, reading))
    check(engine, first)


def test_all_orders_of_a_bulk_retry_are_in_the_feed(reading: tuple[Server, Server]) -> None:
    first, second = reading
    first.insert(new_order(1), new_order(2))
    for order in first.claim():
        first.finish_attempt(order, FAILED)
    next_part(second)
    second.write([RetryOrders(RetrySelection(status=FAILED), 10)])
    assert read_statuses(first, 6)[-2:] == read_statuses(second, 2) == [(1, PENDING), (2, PENDING)]


@pytest.mark.parametrize("status", [PENDING, FAILED])
def test_the_orders_that_a_server_takes_over_are_in_the_feed(
    engine: PostgresqlEngine, reading: tuple[Server, Server], status: Status
) -> None:
    first, second = reading
    second.recover(lambda attempt: Outcome(attempt.sequence, attempt.claim, status, "killed", due_us=0))
    first.insert(new_order(1, user_id=7), new_order(2))
    first.claim()
    second.live(LEASE_S)
    engine.expire_leases()
    second.live(1)
    taken = [OrderChange(1, 7, status, 1, "killed"), OrderChange(2, 1, status, 1, "killed")]
    assert read_changes(second, 6)[-2:] == taken


def test_a_long_error_is_cut(reading: tuple[Server, Server]) -> None:
    first, second = reading
    first.insert(new_order(1))
    [order] = first.claim()
    error = "é" * 10_000
    first.write([FinishAndClaim([Outcome(order.sequence, 1, FAILED, error)], 0, [order])])
    assert read_changes(second, 3)[-1].error == error[:MAX_ERROR_CHARACTERS]
    assert second.find_one(1).error == error


def test_a_batch_that_is_repeated_in_parts_is_in_the_feed_once(
    other: psycopg.Connection[Any], reading: tuple[Server, Server]
) -> None:
    first, second = reading
    first.insert(new_order(1), new_order(2))
    claimed = first.claim()
    next_part(second)
    execute(other, "ALTER TABLE orders ADD CONSTRAINT refused CHECK (order_id <> 4) NOT VALID")
    try:
        ends = [Outcome(order.sequence, 1, COMPLETED) for order in claimed]
        first.write([FinishAndClaim(ends, 0, claimed), *map(new_order, (3, 4, 5))])
    finally:
        execute(other, "ALTER TABLE orders DROP CONSTRAINT refused")
    assert read_statuses(second, 4) == [(1, COMPLETED), (2, COMPLETED), (3, PENDING), (5, PENDING)]


def test_an_order_that_is_put_back_and_claimed_again_in_one_transaction_is_in_the_feed_once(
    clock: Clock, reading: tuple[Server, Server]
) -> None:
    """The result of the commit that claimed the order was not known, so the next transaction puts the order back."""
    first, second = reading
    transactions = Transactions(
        first.database,
        clock=clock,
        database_time=DatabaseTime(clock),
        lease=Lease(),
        max_made_ready=MAX_MADE_READY,
        read_database_us=clock,
    )
    first.insert(new_order(1), new_order(2))
    claimed = transactions.run(lambda transaction: claim(transaction, 2)).orders
    next_part(second)
    put_back = [Outcome(order.sequence, 1, PENDING) for order in claimed]
    transactions.run(lambda transaction: apply_batch(transaction, [FinishAndClaim([], 1)], put_back))
    expected = [OrderChange(2, 1, PENDING), OrderChange(1, 1, PROCESSING, 1)]
    assert read_changes(second, 2) == expected


def test_a_late_outcome_of_a_server_that_was_taken_over_is_not_in_the_feed(
    engine: PostgresqlEngine, reading: tuple[Server, Server]
) -> None:
    first, second = reading
    first.insert(new_order(1))
    [order] = first.claim()
    second.live(LEASE_S)
    engine.expire_leases()
    second.live(1)
    next_part(second)
    first.write([FinishAndClaim([Outcome(order.sequence, 1, COMPLETED)], 0, [order])])
    assert has_no_changes(second)


# Orders that have ended


def test_ended_orders_are_found_whichever_server_has_ended_them(servers: tuple[Server, Server]) -> None:
    first, second = servers
    first.insert(*map(new_order, range(1, 6)))
    one, two, _ = first.claim(3)
    first.finish_attempt(one, COMPLETED)
    second.cancel(5)
    first.finish_attempt(two, FAILED, "no")
    for server in servers:
        assert server.feed
        assert sorted(server.feed.ended([1, 2, 3, 4, 5, 6])) == [1, 2, 5]
        assert server.feed.ended([]) == []


# Ids that are committed out of order


def test_a_read_stops_at_the_id_of_a_transaction_that_is_running(
    engine: PostgresqlEngine, reading: tuple[Server, Server]
) -> None:
    first, second = reading
    with server_transaction(engine) as slow:
        first.insert(new_order(1))
        add(slow, 2)
        second.insert(new_order(3))
        for server in reading:
            assert read_statuses(server, 1) == [(1, PENDING)]
            for _ in range(3):
                assert has_no_changes(server)
        slow.execute("COMMIT")
        assert [read_statuses(server, 2) for server in reading] == [[(2, PENDING), (3, PENDING)]] * 2


def test_a_read_goes_on_after_a_transaction_has_failed(
    engine: PostgresqlEngine, reading: tuple[Server, Server]
) -> None:
    first, _ = reading
    with server_transaction(engine) as one, server_transaction(engine) as two:
        add(one, 1)
        add(two, 2)
        first.insert(new_order(3))
        add(one, 4)
        one.execute("ROLLBACK")
        first.insert(new_order(5))
        for _ in range(3):
            assert has_no_changes(first)
        two.execute("COMMIT")
        assert read_statuses(first, 3) == [(2, PENDING), (3, PENDING), (5, PENDING)]


def test_transactions_that_began_later_do_not_delay_a_read(
    engine: PostgresqlEngine, reading: tuple[Server, Server]
) -> None:
    first, _ = reading
    with server_transaction(engine) as failing:
        add(failing, 1)
        first.insert(new_order(2))
        assert has_no_changes(first)
        with server_transaction(engine):
            failing.execute("ROLLBACK")
            assert read_statuses(first, 1) == [(2, PENDING)]


def test_a_gap_with_many_ids_of_different_transactions(
    engine: PostgresqlEngine, reading: tuple[Server, Server]
) -> None:
    first, second = reading
    with server_transaction(engine) as one, server_transaction(engine) as two, server_transaction(engine) as three:
        for connection, order_id in ((one, 1), (two, 2), (three, 3), (two, 4), (one, 5)):
            add(connection, order_id)
        first.insert(new_order(6))
        assert has_no_changes(second)
        three.execute("COMMIT")
        assert has_no_changes(second)
        one.execute("COMMIT")
        assert read_statuses(second, 1) == [(1, PENDING)]
        assert has_no_changes(second)
        two.execute("COMMIT")
        assert read_statuses(second, 5) == [(2, PENDING), (3, PENDING), (4, PENDING), (5, PENDING), (6, PENDING)]


# The beginning and the end of a feed


def test_the_first_read_waits_for_transactions_that_do_not_record_their_changes(
    engine: PostgresqlEngine, servers: tuple[Server, Server]
) -> None:
    first, second = servers
    assert first.feed
    with server_transaction(engine) as running:
        for _ in range(4):
            assert first.feed.read() is None
        running.execute("COMMIT")
        part = next_part(first)
        assert (part.is_restart, part.rows, part.has_more) == (True, [], False)
    second.insert(new_order(1))
    assert read_statuses(first, 1) == [(1, PENDING)]


@pytest.mark.parametrize("is_same_database", [True, False])
def test_transactions_of_other_programs_delay_no_read(
    engine: PostgresqlEngine, servers: tuple[Server, Server], is_same_database: bool
) -> None:
    first, second = servers
    assert first.feed
    with ExitStack() as cleanup:
        url = engine.url if is_same_database else cleanup.enter_context(temporary_database())
        cleanup.enter_context(open_transaction(url, "CREATE TABLE of_another_program (id bigint)"))
        assert first.feed.read()
        with server_transaction(engine) as failing:
            add(failing, 1)
            second.insert(new_order(2))
            assert has_no_changes(first)
        assert read_statuses(first, 1) == [(2, PENDING)]


def test_the_first_read_waits_for_a_transaction_that_has_begun_and_has_no_id_yet(
    engine: PostgresqlEngine, other: psycopg.Connection[Any], servers: tuple[Server, Server]
) -> None:
    """The transaction's first statement begins before the feed begins, so it does not see that a server reads it."""
    first, second = servers
    assert second.feed

    def insert() -> None:
        first.connect()
        first.insert(new_order(1))
        first.disconnect()

    with waiting_beats(engine, other) as waiting:
        writer = threading.Thread(target=insert)
        writer.start()
        wait_until(lambda: execute(other, waiting) == [(1,)])
        for _ in range(3):
            assert second.feed.read() is None
    writer.join()
    part = next_part(second)
    assert (part.is_restart, part.rows) == (True, [])
    assert second.find_one(1).status == PENDING
    first.insert(new_order(2))
    assert read_statuses(second, 1) == [(2, PENDING)]


@contextmanager
def waiting_beats(engine: PostgresqlEngine, other: psycopg.Connection[Any]) -> Iterator[str]:
    """Until the end of the block, each renewal of a lease waits after it has begun, before it changes a row.

    Yields a query that counts the renewals that wait.
    """
    execute(
        other,
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END'",
    )
    execute(other, "CREATE TRIGGER wait BEFORE UPDATE ON nodes EXECUTE FUNCTION wait()")
    try:
        with connect(engine.url) as blocker, blocker.transaction():
            execute(blocker, "SELECT pg_advisory_xact_lock(1)")
            yield (
                "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database "
                "WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
            )
    finally:
        execute(other, "DROP FUNCTION wait CASCADE")


def test_a_server_that_begins_later_reads_what_the_feed_still_has(servers: tuple[Server, Server]) -> None:
    first, second = servers
    begun = next_part(first)
    first.insert(new_order(1))
    second.insert(new_order(2))
    part = next_part(second)
    assert (part.epoch, part.after, part.is_restart) == (begun.epoch, begun.last, True)
    assert statuses(changes_of(part)) == [(1, PENDING), (2, PENDING)]


def test_a_feed_goes_on_without_the_server_that_began_it(
    engine: PostgresqlEngine, servers: tuple[Server, Server]
) -> None:
    first, second = servers
    begun = next_part(first)
    first.insert(new_order(1))
    first.disconnect()
    second.insert(new_order(2))
    part = next_part(second)
    assert part.epoch == begun.epoch
    assert statuses(changes_of(part)) == [(1, PENDING), (2, PENDING)]
    check(engine, second)


def test_a_feed_that_nobody_has_read_for_a_while_begins_again(
    other: psycopg.Connection[Any], reading: tuple[Server, Server]
) -> None:
    first, second = reading
    epoch = next_part(first).epoch
    first.insert(new_order(1))
    execute(other, "UPDATE feed_start SET until = now() - interval '1 second'")
    first.insert(new_order(2))
    parts = [next_part(server) for server in reading]
    assert [(part.is_restart, part.rows) for part in parts] == [(True, [])] * 2
    assert len({epoch, *(part.epoch for part in parts)}) == 2
    second.insert(new_order(3))
    assert [read_statuses(server, 1) for server in reading] == [[(3, PENDING)]] * 2


def test_reads_keep_a_feed_from_ending(other: psycopg.Connection[Any], reading: tuple[Server, Server]) -> None:
    first, _ = reading
    execute(other, "UPDATE feed_start SET until = now() + interval '2 minutes'")
    first.insert(new_order(1))
    assert read_statuses(first, 1) == [(1, PENDING)]
    [[left_s]] = execute(other, "SELECT extract(epoch FROM until - now())::integer FROM feed_start")
    assert left_s > 300


def test_an_emptied_feed_begins_again_with_another_epoch(
    other: psycopg.Connection[Any], reading: tuple[Server, Server]
) -> None:
    first, second = reading
    first.insert(new_order(1))
    before = next_part(first)
    # What remains of unlogged tables after a crash.
    execute(other, "TRUNCATE feed, feed_start RESTART IDENTITY")
    second.insert(new_order(2))
    after = next_part(first)
    assert (after.is_restart, after.rows) == (True, [])
    assert after.epoch != before.epoch
    first.insert(new_order(3))
    assert read_statuses(first, 1) == read_statuses(second, 1) == [(3, PENDING)]


# Length


def fill(server: Server, count: int) -> None:
    """Makes this number of changes, in transactions of 2,000 changes."""
    last = server.totals().orders
    for begin in range(last, last + count, 2_000):
        server.insert(*map(new_order, range(begin + 1, min(begin + 2_000, last + count) + 1)))


def test_a_long_feed_is_read_in_parts(reading: tuple[Server, Server]) -> None:
    first, second = reading
    fill(first, 13_000)
    parts: list[FeedRead] = []
    while not parts or parts[-1].has_more:
        parts.append(next_part(second))
    assert [len(changes_of(part)) for part in parts] == [6_000, 6_000, 1_000]
    assert [change.order_id for change in changes_of(*parts)] == list(range(1, 13_001))
    for number in range(250):
        first.insert(new_order(20_000 + number))
    assert [len(next_part(second).rows) for _ in range(4)] == [100, 100, 50, 0]


@pytest.mark.slow
def test_old_rows_are_removed_and_a_server_that_needs_them_restarts(
    other: psycopg.Connection[Any], reading: tuple[Server, Server]
) -> None:
    first, second = reading
    total = KEPT_CHANGES + 5 * MAX_CHANGES
    for begin in range(0, total, 1_000):
        with other.transaction():
            add(other, *range(begin + 1, begin + 1_001))
        next_part(first)
    while next_part(first).rows:
        pass
    [[kept]] = execute(other, "SELECT sum(count) FROM feed")
    assert KEPT_CHANGES <= kept <= KEPT_CHANGES + 2 * STEP
    part = next_part(second)
    assert part.is_restart
    assert part.rows[0].id == part.after + 1
    parts = [part]
    while parts[-1].has_more:
        parts.append(next_part(second))
    assert [change.order_id for change in changes_of(*parts)] == list(range(total - kept + 1, total + 1))
    # A server that has read the rows does not restart.
    assert not next_part(first).is_restart
    # Both servers remove rows, one at a time.
    for begin in range(total, total + 10 * STEP, STEP):
        add(other, *range(begin + 1, begin + STEP + 1))
        for server in (first, second):
            assert not next_part(server).is_restart
    for server in (first, second):
        assert has_no_changes(server)
    [[kept]] = execute(other, "SELECT sum(count) FROM feed")
    assert KEPT_CHANGES <= kept <= KEPT_CHANGES + 2 * STEP
    [[start, lowest]] = execute(other, "SELECT (SELECT id FROM feed_start), min(id) FROM feed")
    assert lowest == start + 1
