"""Every statement of the store reads few pages, whether the tables are empty, small, or contain 1,000,000 orders."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from msgspec.structs import replace

from models.database.address import PostgresqlUrl
from models.database.health import Work
from models.errors import OrderArchivedError
from models.listing import Listing
from models.order import Ending, Status
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from models.postgresql.opening import open_postgresql_store
from models.postgresql.store import PostgresqlStore
from models.writes.attempts import FinishAndClaim, Outcome
from models.writes.commands import Cancel, Retry, RetrySelection, SetPaused
from tests.models.postgresql.tables import check_tables, fill
from tests.models.samples import SECOND_US, Clock, new_order
from tests.models.shorthand_store import ShorthandStore
from tests.postgresql.databases import connect, execute
from tests.postgresql.server import PrivateServer

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]

FIRST_US = 1_740_830_400 * SECOND_US
MANY, SMALL = 1_000_000, 100
NEW_ID = 10_000_000
MAX_PAGES = 600
"""An update of an order with its indexes reads about 20 pages, and no call updates more than 20 orders."""
MAX_LIST_PAGES = 8_000
"""A list with several filters reads all orders of a user, or of a status in a period, but not all orders."""
_STATISTICS = """
SELECT sum(shared_blks_hit + shared_blks_read) FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND query NOT LIKE '%pg_stat%'"""
_OTHER_CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"""
_SCANS = """
SELECT relname, seq_scan FROM pg_stat_user_tables
WHERE relname IN ('orders', 'work', 'ends', 'attempts') AND seq_scan > 0"""
_TABLES_OF_ORDERS = """
oid IN (SELECT unnest(ARRAY['orders', 'work', 'ends', 'blocks']::regclass[]))
OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = ANY (ARRAY['orders', 'work', 'ends', 'blocks']::regclass[]))
"""
STATISTICS = {
    "of a few rows": ("SET default_statistics_target = 1", "ANALYZE"),
    "of a small database": (
        "ALTER TABLE orders ALTER user_id SET (n_distinct = -1)",
        "ALTER TABLE blocks ALTER block SET (n_distinct = 1)",
        "ANALYZE",
        "ALTER TABLE orders ALTER user_id RESET (n_distinct)",
        "ALTER TABLE blocks ALTER block RESET (n_distinct)",
        f"UPDATE pg_class SET reltuples = 100, relpages = 2 WHERE {_TABLES_OF_ORDERS}",
    ),
    "of a single block": ("ANALYZE", "UPDATE pg_class SET reltuples = 1, relpages = 1 WHERE relname = 'blocks'"),
    "missing": (
        "DELETE FROM pg_statistic WHERE starelid = ANY (ARRAY['orders', 'work', 'ends', 'blocks']::regclass[])",
        f"UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE {_TABLES_OF_ORDERS}",
    ),
}
"""Statements that give the planner wrong statistics. ANALYZE reads only a random sample of rows, and is not executed
after each change."""

Shops = Callable[[int], PostgresqlUrl]
"""Returns the URL of a database with this number of orders, which the first call with this number fills."""


class Shop:
    """Calls all methods of a store, in a database with this number of orders."""

    def __init__(self, store: ShorthandStore, clock: Clock, count: int) -> None:
        self._store = store
        self._clock = clock
        self._count = count
        self._next_id = NEW_ID

    def calls(self) -> Iterator[str]:
        """Calls the methods one after the other. Yields a description of each call after it."""
        yield from self._write()
        yield from self._command()
        yield from self._archive()
        yield from self._read()
        yield from self.lists()

    def lists(self) -> Iterator[str]:
        """Reads lists with all combinations of filters. Yields a description of each list after it."""
        for status in (None, *Status):
            for user_id in (None, 5, 10**9):
                yield from self._list(Listing(limit=20, status=status, user_id=user_id))

    def _new_ids(self, count: int) -> range:
        self._next_id += count
        return range(self._next_id - count, self._next_id)

    def _write(self) -> Iterator[str]:
        store, ids = self._store, self._new_ids(40)
        store.insert(*map(new_order, ids[:10]))
        yield "insert"
        store.insert(new_order(ids[0]), new_order(ids[10], metadata='{"a": 1}'))
        yield "insert again"
        store.write([*map(new_order, ids[11:15])], max_pending=0)
        yield "insert beyond the limit"
        claimed = store.claim(8)
        yield "claim"
        due_us = self._clock.now_us - 1
        done, failed, waiting, put_back = claimed[:2], claimed[2:4], claimed[4:6], claimed[6:]
        outcomes = [
            *(Outcome(each.sequence, each.claims, Status.COMPLETED) for each in done),
            *(Outcome(each.sequence, each.claims, Status.FAILED, "no", ending=Ending.FAILED) for each in failed),
            *(Outcome(each.sequence, each.claims, Status.PENDING, "x", due_us, Ending.FAILED) for each in waiting),
            *(Outcome(each.sequence, each.claims, Status.PENDING) for each in put_back),
        ]
        store.write([FinishAndClaim(outcomes, 4), new_order(ids[20])])
        yield "outcomes, a new order and claims"
        running = store.claim(10)
        yield "claim retries"
        store.finish(*(Outcome(each.sequence, each.claims, Status.COMPLETED) for each in running))
        yield "complete"

    def _command(self) -> Iterator[str]:
        store, ids = self._store, self._new_ids(10)
        store.insert(*map(new_order, ids[:4]))
        store.write([Cancel(ids[0]), Cancel(ids[1]), Cancel(ids[9]), SetPaused(True)])
        yield "cancel and pause"
        store.write([SetPaused(False), Retry(ids[0]), Retry(10), Retry(self._count - 1), Retry(self._count - 2)])
        yield "retry"
        for status in (Status.FAILED, Status.PENDING):
            for error in (None, "no", "nothing has this error"):
                for from_us in (None, 2**62):
                    selection = RetrySelection(status=status, error=error, created_from_us=from_us)
                    store.retry_selected(selection, 5)
                    yield f"retry {selection}"
        store.tend()
        yield "tend"
        for work in Work:
            store.probe(work)
            yield f"probe {work}"

    def _archive(self) -> Iterator[str]:
        store = self._store
        for after in (0, self._count // 2, self._count - 10):
            for before_us in (2**62, FIRST_US + 10 * SECOND_US, 0):
                expired = store.find_expired(ended_before_us=before_us, after=after, limit=5).orders
                yield f"find orders that ended before {before_us}, after {after}"
        assert not expired
        for _ in range(2):
            expired = store.find_expired(after=self._count // 4, limit=5).orders
            assert expired
            assert store.archive(*expired)
            yield "archive"
            store.insert(*(new_order(each.order_id) for each in expired), *map(new_order, self._new_ids(5)))
            yield "insert archived orders"
            store.erase(*(each.order_id for each in store.find_expired(after=self._count // 2, limit=2).orders))
            yield "erase"
        assert store.last_member(1) is None
        yield "the last member of an archive"

    def _read(self) -> Iterator[str]:
        store = self._store
        store.find([*range(1, 10), self._count, NEW_ID, 2**62])
        yield "find"
        for order_id in (10, NEW_ID, 2**62):
            # In a small shop, `_archive` has archived the order.
            with suppress(OrderArchivedError):
                store.history(order_id)
            yield f"history of {order_id}"
        store.totals()
        yield "totals"
        assert store.feed
        store.feed.ended([*range(1, 10), self._count, NEW_ID, 2**62])
        yield "ended"
        for step in ("begin", "read", "read again"):
            store.feed.read()
            store.insert(*map(new_order, self._new_ids(2)))
            yield f"feed: {step}"

    def _list(self, listing: Listing) -> Iterator[str]:
        last_us = FIRST_US + self._count * SECOND_US
        middle_us = (FIRST_US + last_us) // 2
        for oldest_first, last in ((False, None), (False, self._count // 2), (True, None), (True, self._count // 2)):
            for from_us, until_us in (
                (None, None),
                (FIRST_US, last_us),
                (middle_us, None),
                (middle_us, middle_us + 10 * SECOND_US),
                (None, FIRST_US + 10 * SECOND_US),
                (2**62, None),
            ):
                page = replace(
                    listing,
                    oldest_first=oldest_first,
                    last=last,
                    created_from_us=from_us,
                    created_until_us=until_us,
                )
                self._store.list_orders(page)
                yield f"list {page}"


@pytest.fixture(scope="module")
def shops() -> Iterator[Shops]:
    """Databases on a server that records how many pages each statement reads."""
    settings = ("shared_preload_libraries=pg_stat_statements", "pg_stat_statements.max=1000", "autovacuum=off")
    with PrivateServer(*settings) as server:
        yield functools.cache(lambda count: new_shop(server, count))


def new_shop(server: PrivateServer, count: int) -> PostgresqlUrl:
    """A new database with this number of orders."""
    name = f"shop_{count}"
    with connect(server.url()) as connection:
        execute(connection, f"CREATE DATABASE {name}")
    url = PostgresqlUrl(server.url(name))
    open_postgresql_store(url, clock=Clock())
    with connect(url.url) as connection:
        execute(connection, "CREATE SCHEMA measurement")
        execute(connection, "CREATE EXTENSION pg_stat_statements SCHEMA measurement")
        fill(connection, count)
    return url


def measure(
    url: PostgresqlUrl, count: int, calls: Callable[[Shop], Iterator[str]], *, rounds_before: int
) -> dict[str, int]:
    """Makes these calls of a store with this number of orders. Returns how many pages each call reads.

    Before that, makes the same calls `rounds_before` times. After two rounds, the statements are prepared, with the
    plans that all later calls use. Fails if PostgreSQL reads a whole table.
    """
    clock = Clock(FIRST_US + count * SECOND_US)
    pages: dict[str, int] = {}
    # The numbers of scans are updated when a connection ends.
    with connect(url.url) as connection:
        execute(connection, "SET search_path = public, measurement")
        with opened_shop(url, clock, count) as shop:
            for _ in range(rounds_before):
                assert list(calls(shop))
            execute(connection, "SELECT pg_stat_reset()")
            execute(connection, "SELECT pg_stat_statements_reset()")
            for call in calls(shop):
                [(read,)] = execute(connection, _STATISTICS)
                pages[call] = int(read or 0)
                execute(connection, "SELECT pg_stat_statements_reset()")
        while execute(connection, _OTHER_CONNECTIONS) != [(0,)]:
            pass
        assert execute(connection, _SCANS) == []
    assert len(pages) > 200
    return pages


@contextmanager
def opened_shop(url: PostgresqlUrl, clock: Clock, count: int) -> Iterator[Shop]:
    database = RetryingPostgresqlDatabase(url)
    database.connect()
    try:
        yield Shop(ShorthandStore(PostgresqlStore(database, clock=clock, read_database_us=clock)), clock, count)
    finally:
        database.close()


def too_many(pages: dict[str, int]) -> dict[str, int]:
    """The calls that read too many pages."""
    return {
        call: read for call, read in pages.items() if read > (MAX_LIST_PAGES if call.startswith("list") else MAX_PAGES)
    }


@pytest.mark.parametrize("count", [0, SMALL, MANY])
def test_no_call_reads_many_pages(shops: Shops, count: int) -> None:
    url = shops(count)
    assert too_many(measure(url, count, Shop.calls, rounds_before=2)) == {}
    with connect(url.url) as connection:
        check_tables(connection)


@pytest.mark.parametrize("statistics", STATISTICS)
def test_no_list_reads_many_pages_whatever_the_statistics_are(shops: Shops, statistics: str) -> None:
    url = shops(MANY)
    with connect(url.url) as connection:
        for statement in STATISTICS[statistics]:
            execute(connection, statement)
    assert too_many(measure(url, MANY, Shop.lists, rounds_before=0)) == {}
