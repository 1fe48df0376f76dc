"""Several servers on one database: one of them archives orders, and no server accepts an archived order again."""

import threading
from collections.abc import Iterator

import pytest

from models.database.address import PostgresqlUrl
from models.errors import OrderArchivedError
from models.identity.fingerprint import fingerprint
from models.order import Order, Status
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from models.postgresql.opening import open_postgresql_store
from models.postgresql.schema.steps import ARCHIVE_VERSION, STEPS
from models.postgresql.store import PostgresqlStore
from models.transactions.archiving import archive_orders
from models.writes.insertion import Insertion
from tests.models.postgresql.engine import PostgresqlEngine
from tests.models.postgresql.schema.test_migration import change_schema
from tests.models.postgresql.two_servers import two_servers
from tests.models.samples import Clock, new_order
from tests.models.shorthand_store import ShorthandStore
from tests.postgresql.databases import connect, execute, temporary_database
from tests.process import wait_until

pytestmark = pytest.mark.postgresql

IS_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
def engine() -> Iterator[PostgresqlEngine]:
    engine = PostgresqlEngine()
    yield engine
    engine.close()


def end(store: ShorthandStore, *order_ids: int) -> list[Order]:
    store.insert(*map(new_order, order_ids))
    for order in store.claim():
        store.finish_attempt(order, Status.COMPLETED)
    return [store.find_one(order_id) for order_id in order_ids]


def test_one_server_archives_at_a_time(engine: PostgresqlEngine, clock: Clock) -> None:
    with two_servers(engine, clock) as (first, second):
        wait_until(first.may_archive)
        assert [first.may_archive(), second.may_archive()] == [True, False]
        first.database.close()
        wait_until(second.may_archive)
        first.connect()
        assert not first.may_archive()


def test_both_servers_know_archived_orders(engine: PostgresqlEngine, clock: Clock) -> None:
    with two_servers(engine, clock) as (first, second):
        orders = end(first, 1, 2)
        assert first.archive(orders[0])
        assert second.insert(new_order(1), new_order(1, user_id=9)) == [Insertion.REPLAYED, 1]
        first.database.close()
        assert second.archive(orders[0]) is False
        assert second.totals().archived == 1


def test_no_order_is_archived_while_an_older_server_runs() -> None:
    with temporary_database() as url:
        change_schema(url, STEPS[: ARCHIVE_VERSION - 1])
        with connect(url) as connection:
            execute(
                connection,
                "INSERT INTO nodes VALUES (nextval('node_ids'), now() - interval '1 hour', now(), 'old:1', %s)",
                ARCHIVE_VERSION - 1,
            )
            change_schema(url, STEPS)
            store = PostgresqlStore(RetryingPostgresqlDatabase(PostgresqlUrl(url), deadline_s=0), clock=Clock())
            store.connect()
            # The older server can still renew its lease. Once it was taken over, it does not come back.
            assert not store.may_archive()
            execute(connection, "DELETE FROM nodes")
            wait_until(store.may_archive)
            with pytest.raises(Exception, match="update this server"):
                execute(
                    connection,
                    "INSERT INTO nodes VALUES (nextval('node_ids'), now(), now(), 'old:1', %s)",
                    ARCHIVE_VERSION - 1,
                )
            store.disconnect()


@pytest.mark.parametrize("is_announcement_known", [False, True])
def test_an_order_that_is_inserted_while_it_is_archived_is_a_replay(
    engine: PostgresqlEngine, clock: Clock, is_announcement_known: bool
) -> None:
    store = ShorthandStore(engine.open(clock))
    first, _ = end(store, 1, 2)
    wait_until(store.may_archive)
    results: list[object] = []
    database = RetryingPostgresqlDatabase(PostgresqlUrl(engine.url), deadline_s=60)

    def insert_again() -> None:
        other = ShorthandStore(PostgresqlStore(database, clock=clock))
        other.connect()
        other.recover()
        if is_announcement_known:
            other.insert(new_order(4))
        results.extend(other.insert(new_order(3), new_order(1), new_order(1, user_id=9)))
        other.disconnect()

    with connect(engine.url) as archiver, connect(engine.url) as observer:
        archiver.execute("BEGIN")
        archiver.execute("INSERT INTO fingerprints VALUES (1, %s)", (fingerprint(new_order(1)),))
        for table in ("ends", "orders"):
            archiver.execute(f"DELETE FROM {table} WHERE sequence = %s", (first.sequence,))
        thread = threading.Thread(target=insert_again)
        thread.start()
        wait_until(lambda: execute(observer, IS_WAITING) == [(1,)])
        archiver.execute("COMMIT")
        thread.join(60)
    assert results == [Insertion.ACCEPTED, Insertion.REPLAYED, 1]
    assert [type(each) is Order for each in store.find([1, 2, 3])] == [False, True, True]


def test_a_batch_that_began_before_archiving_was_announced_meets_no_archived_order(
    engine: PostgresqlEngine, clock: Clock
) -> None:
    store = ShorthandStore(engine.open(clock))
    [archived] = end(store, 7)
    results: list[object] = []
    database = RetryingPostgresqlDatabase(PostgresqlUrl(engine.url), deadline_s=60)

    def insert() -> None:
        other = ShorthandStore(PostgresqlStore(database, clock=clock))
        other.connect()
        other.recover()
        results.extend(other.insert(new_order(3), new_order(7)))
        other.disconnect()

    with connect(engine.url) as holder, connect(engine.url) as observer:
        holder.execute("BEGIN")
        holder.execute("INSERT INTO orders VALUES (1000, 3, 1, 1, 1, '[1]')")
        thread = threading.Thread(target=insert)
        thread.start()
        # Order 7 is inserted after order 3, for which the batch waits. The batch has read that nothing is archived.
        wait_until(lambda: execute(observer, IS_WAITING) == [(1,)])
        assert not any(store.may_archive() for _ in range(10))
        holder.execute("ROLLBACK")
        thread.join(60)
    assert store.archive(archived)
    assert results == [Insertion.ACCEPTED, Insertion.REPLAYED]
    assert [type(each) for each in store.find([3, 7])] == [Order, OrderArchivedError]


def test_a_batch_that_begins_after_the_announcement_searches_although_its_server_does_not_know_of_it(
    engine: PostgresqlEngine, clock: Clock
) -> None:
    with two_servers(engine, clock) as (first, second):
        [archived] = end(first, 1)
        second.insert(new_order(2))
        assert first.archive(archived)
        assert second.insert(new_order(1), new_order(1, user_id=9), new_order(3)) == [
            Insertion.REPLAYED,
            1,
            Insertion.ACCEPTED,
        ]
        assert second.write([new_order(1), new_order(4)], max_pending=0)[0] is Insertion.REPLAYED


def test_an_order_that_another_server_erases_while_it_is_sent_again_is_a_replay(
    engine: PostgresqlEngine, clock: Clock
) -> None:
    with two_servers(engine, clock) as (first, second):
        end(first, 1)
        first.erase(1)
        assert second.insert(new_order(1), new_order(1, user_id=9)) == [Insertion.REPLAYED, 1]


def test_nothing_is_searched_while_no_order_was_ever_archived(clock: Clock) -> None:
    with temporary_database() as url:
        store = ShorthandStore(open_postgresql_store(PostgresqlUrl(url), clock=clock))
        store.connect()
        for order_id in range(1, 21):
            store.insert(new_order(order_id))
        assert store.insert(new_order(1)) == [Insertion.REPLAYED]
        store.disconnect()
        with connect(url) as observer:

            def scans(table: str) -> int:
                [(count,)] = execute(observer, "SELECT idx_scan FROM pg_stat_user_tables WHERE relname = %s", table)
                return int(count)

            # The connection of the store has reported what it did when the number for `orders` is not 0.
            wait_until(lambda: scans("orders") > 0)
            assert scans("fingerprints") == 0


def test_archiving_is_announced_again_if_a_failover_has_lost_the_announcement(
    engine: PostgresqlEngine, clock: Clock
) -> None:
    inner = engine.open(clock)
    store = ShorthandStore(inner)
    [archived] = end(store, 1)
    wait_until(store.may_archive)
    with connect(engine.url) as connection:
        execute(connection, "UPDATE meta SET archiving_announced = false, archiving_begun = false")
        # `store.archive` would ask for permission again.
        assert inner.write([archive_orders([archived])]) == [False]
        assert store.archive(archived)
        assert execute(connection, "SELECT archiving_announced, archiving_begun FROM meta") == [(True, True)]
