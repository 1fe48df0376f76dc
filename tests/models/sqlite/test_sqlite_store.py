"""Behaviour that only the SQLite store has. `tests/models/store/` tests the behaviour of every store."""

import re
import sqlite3
from pathlib import Path

import pytest

from models.database.health import Work
from models.errors import StorageUnavailableError
from models.order import Status
from models.parsing.order_body import MAX_ID
from models.sqlite import statements
from models.sqlite.database import RetryingSqliteDatabase
from models.sqlite.store import SqliteStore
from models.writes.attempts import ClaimedOrders, FinishAndClaim, Outcome
from models.writes.insertion import Insertion
from tests.cases import cases
from tests.models.samples import Clock, new_order
from tests.models.shorthand_store import ShorthandStore

ACCEPTED = Insertion.ACCEPTED


def test_an_order_is_in_the_file(store: ShorthandStore, tmp_path: Path) -> None:
    store.insert(new_order(1, item_ids=[1, 2], metadata='{ "a": 1 }'))
    other = sqlite3.connect(tmp_path / "orders.db")
    assert other.execute("SELECT order_id, item_ids, metadata, status FROM orders").fetchall() == [
        (1, "[1,2]", '{ "a": 1 }', "Pending")
    ]
    other.close()


# Errors


def fill_up(database: RetryingSqliteDatabase) -> int:
    """Prevents the file from growing. Returns the previous limit, in pages."""
    limit: int = database.pragma("max_page_count")
    database.pragma("max_page_count", 1)  # SQLite raises this limit to the size of the file.
    return limit


def test_a_full_database_stores_nothing_of_a_batch_until_there_is_space(
    store: ShorthandStore, database: RetryingSqliteDatabase
) -> None:
    store.insert(new_order(1))
    totals = store.totals()
    limit = fill_up(database)
    batch = [new_order(order_id, item_ids=[MAX_ID] * 1_000) for order_id in range(1, 20)]
    for _ in range(2):
        with pytest.raises(StorageUnavailableError, match="full"):
            store.insert(*batch)
    assert store.find([2, 19]) == [None, None]
    assert store.totals() == totals
    database.pragma("max_page_count", limit)
    assert store.insert(*batch) == [1] + [ACCEPTED] * 18
    assert store.totals().pending == 19


def test_a_full_database_stores_neither_the_outcomes_nor_the_claims_of_a_write(
    store: ShorthandStore, database: RetryingSqliteDatabase
) -> None:
    store.insert(*map(new_order, (1, 2)))
    [first] = store.claim(1)
    before, totals = store.find([1, 2]), store.totals()
    limit = fill_up(database)
    failed = Outcome(first.sequence, 1, Status.FAILED, "x" * 100_000)
    with pytest.raises(StorageUnavailableError):
        store.finish_and_claim([failed], 10)
    assert (store.find([1, 2]), store.totals()) == (before, totals)
    database.pragma("max_page_count", limit)
    assert [order.order_id for order in store.finish_and_claim([failed], 10).orders] == [2]
    assert store.find_one(1).error == "x" * 100_000


def test_an_error_in_the_last_step_rolls_back_the_whole_batch(
    store: ShorthandStore, database: RetryingSqliteDatabase
) -> None:
    store.insert(new_order(1))
    database.execute_sql("CREATE TRIGGER broken BEFORE UPDATE ON totals BEGIN SELECT RAISE(ABORT, 'broken'); END")
    with pytest.raises(StorageUnavailableError, match="broken"):
        store.insert(new_order(2), new_order(3))
    with pytest.raises(StorageUnavailableError, match="broken"):
        store.claim()
    assert store.find([2, 3]) == [None, None]
    assert store.find_one(1).status is Status.PENDING
    database.execute_sql("DROP TRIGGER broken")
    assert store.insert(new_order(2), new_order(3)) == [ACCEPTED, ACCEPTED]
    assert len(store.claim()) == 3


# Probes


def test_a_probe_writes_to_the_wal_and_changes_nothing(store: ShorthandStore, tmp_path: Path) -> None:
    store.insert(new_order(1))
    totals = store.totals()
    wal_bytes = (tmp_path / "orders.db-wal").stat().st_size
    store.probe(Work.WRITES)
    assert store.totals() == totals
    assert (tmp_path / "orders.db-wal").stat().st_size > wal_bytes


def test_a_probe_of_a_read_only_database_raises(store: ShorthandStore, database: RetryingSqliteDatabase) -> None:
    database.pragma("query_only", 1)
    with pytest.raises(StorageUnavailableError, match="readonly"):
        store.probe(Work.WRITES)
    database.pragma("query_only", 0)
    store.probe(Work.WRITES)


def test_only_a_write_that_reached_the_disk_makes_the_store_writable_again(
    store: ShorthandStore, database: RetryingSqliteDatabase
) -> None:
    store.insert(new_order(1))
    store.claim()
    assert store.is_up(Work.WRITES)
    database.execute_sql("PRAGMA query_only = ON")
    with pytest.raises(StorageUnavailableError):
        store.insert(new_order(2))
    assert not store.is_up(Work.WRITES)
    database.execute_sql("PRAGMA query_only = OFF")
    assert store.insert(new_order(1)) == [Insertion.REPLAYED]
    assert store.claim(10) == []
    assert not store.is_up(Work.WRITES)
    store.probe(Work.WRITES)
    assert store.is_up(Work.WRITES)


def test_the_limit_for_new_orders_applies_to_stored_orders_if_the_write_stores_many(store: ShorthandStore) -> None:
    for order_ids, expected in (((1, 2), [1, 2]), ((3, 4, 5), [3, 4]), ((6,), [5]), ((), [6])):
        result = store.write([*map(new_order, order_ids), FinishAndClaim([], 1, new_limit=2)])[-1]
        assert isinstance(result, ClaimedOrders)
        assert [order.order_id for order in result.orders] == expected


def test_an_order_that_an_outcome_makes_ready_is_claimed_before_a_new_order(store: ShorthandStore) -> None:
    assert store.recover() == 0
    order = store.insert_and_claim(new_order(1))
    put_back = FinishAndClaim([Outcome(order.sequence, 1, Status.PENDING)], 1)
    [_, claimed] = store.write([new_order(2), put_back])
    assert isinstance(claimed, ClaimedOrders)
    assert [order.order_id for order in claimed.orders] == [1]
    assert [order.order_id for order in store.claim()] == [2]
    assert store.claim() == []


def test_pending_orders_of_an_earlier_process_are_claimed_before_new_orders(
    database: RetryingSqliteDatabase, store: ShorthandStore, clock: Clock
) -> None:
    store.insert(new_order(1))
    for is_recovered in (False, True):
        again = ShorthandStore(SqliteStore(database, clock=clock))
        if is_recovered:
            assert again.recover() == 0
        [_, claimed] = again.write([new_order(2 + is_recovered), FinishAndClaim([], 1)])
        assert isinstance(claimed, ClaimedOrders)
        [order] = claimed.orders
        assert order.order_id == 1 + is_recovered
        again.finish(Outcome(order.sequence, 1, Status.COMPLETED))


# Statements


def test_retries_are_claimed_oldest_first_even_if_many_are_due(database: RetryingSqliteDatabase, clock: Clock) -> None:
    store = ShorthandStore(SqliteStore(database, clock=clock, max_made_ready=2))
    store.insert(*map(new_order, range(1, 6)))
    for order in store.claim():
        store.finish_attempt(order, Status.PENDING, "down", due_us=clock.now_us + 6 - order.sequence)
    clock.now_us += 5
    # The newest orders are due first. Each call makes two ready. No order is claimed before the oldest is ready.
    assert [store.finish_and_claim([], 2) for _ in range(2)] == [
        ClaimedOrders([], clock.now_us - 2),
        ClaimedOrders([], clock.now_us),
    ]
    assert [order.order_id for order in store.claim(2)] == [1, 2]
    assert [order.order_id for order in store.claim()] == [3, 4, 5]


READY = "SEARCH orders USING INDEX orders_pending (due_us=?)"
NEXT_DUE = "SEARCH orders USING INDEX orders_pending (due_us>?)"
BY_SEQUENCE = "SEARCH orders USING INTEGER PRIMARY KEY (rowid=?)"
NEWEST = "SEARCH orders"  # the last row of the table
BY_CLAIM = "SEARCH attempts USING PRIMARY KEY (sequence=? AND claim=?)"
OF_ORDER = "SEARCH attempts USING PRIMARY KEY (sequence=?)"


@cases(
    ("statement", "plan"),
    [
        ("INSERT_PACKED", []),
        ("INSERT_WITH_METADATA", []),
        ("FIND", ["SEARCH orders USING INDEX orders_order_id (order_id=?)"]),
        ("HAS_READY", [READY, NEXT_DUE]),
        ("NEXT_READY", [READY, NEXT_DUE]),
        ("CLAIM", ["SEARCH orders USING INDEX orders_pending (due_us=? AND sequence>? AND sequence<?)"]),
        ("MAKE_READY", [BY_SEQUENCE, "SEARCH orders USING INDEX orders_pending (due_us>? AND due_us<?)"]),
        ("SUM_UP", [BY_SEQUENCE]),
        ("COMPLETE", [BY_SEQUENCE]),
        ("FAIL", [BY_SEQUENCE]),
        ("MAKE_PENDING", [BY_SEQUENCE]),
        ("INTERRUPTED", ["SEARCH orders USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"]),
        ("CANCEL", [BY_SEQUENCE]),
        ("RETRY_BY_REQUEST", [BY_SEQUENCE]),
        ("MAKE_DUE_NOW", [BY_SEQUENCE]),
        ("NEXT_FAILED", ["SEARCH orders USING INDEX orders_failed (sequence>? AND sequence<?)", NEWEST]),
        ("NEXT_WAITING", ["SEARCH orders USING INDEX orders_waiting (sequence>? AND sequence<?)", NEWEST]),
        ("RECORD_ATTEMPTS", [BY_SEQUENCE]),
        ("DELETE_OLD_ATTEMPTS", [BY_CLAIM, OF_ORDER]),
        ("HISTORY", ["SEARCH orders USING INDEX orders_order_id (order_id=?)", OF_ORDER]),
        ("TOTALS", [READY, "SEARCH orders USING INDEX orders_pending (due_us>? AND due_us<?)", NEXT_DUE]),
    ],
)
def test_no_statement_reads_more_orders_than_it_needs(
    database: RetryingSqliteDatabase, statement: str, plan: list[str]
) -> None:
    text = getattr(statements, statement)
    values = dict.fromkeys(re.findall(r":(\w+)", text), 1) or [1] * text.count("?")
    steps = [row[3] for row in database.execute_sql(f"EXPLAIN QUERY PLAN {text}", values)]
    own = [step.replace("COVERING INDEX", "INDEX") for step in steps if re.search(" (orders|attempts)", step)]
    assert own == plan
