"""A damaged part of the database file harms only the orders that it contains."""

from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from models.database.health import Work
from models.errors import StorageBusyError, StorageDamagedError, StorageError, StorageUnavailableError
from models.listing import Listing
from models.order import Order, Status
from models.sqlite.database import RetryingSqliteDatabase
from models.sqlite.store import SqliteStore
from models.writes.attempts import ClaimedOrders, FinishAndClaim, Outcome
from models.writes.commands import Cancel, RetrySelection
from models.writes.insertion import Insertion, NewOrders
from tests.models.damage import change_row, damage_index_of_id, damage_root, damage_rows, prevent_updates
from tests.models.new_database import open_new_database
from tests.models.samples import SECOND_US, Clock, new_order
from tests.models.shop import BAD, DAMAGE, FIRST, Shop, damage_row, ids, is_damage, marker, padded, set_column
from tests.models.shorthand_store import ShorthandStore

ACCEPTED = Insertion.ACCEPTED
ADVICE = "to check the file: python server.py --database {} --check"


# Reading


@DAMAGE
def test_a_damaged_order_alone_cannot_be_found(
    shop: Shop, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    damage(shop.path)
    with shop.opened() as store:
        order_ids = list(range(FIRST, FIRST + 20))
        for _ in range(2):
            found = store.find(order_ids)
            assert [order_id for order_id, each in zip(order_ids, found, strict=True) if is_damage(each)] == [BAD]
            assert ids([each for each in found if isinstance(each, Order)]) == [
                each for each in order_ids if each != BAD
            ]
            assert [is_damage(each) for each in store.find([BAD])] == [True]
        assert store.is_up(Work.READS)
        assert store.status().errors.keys() <= {"SQLITE_CORRUPT", "SQLITE_ERROR"}
    # Once, although it was read often.
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert record.message.startswith(f"order {BAD} can't be read or written: ")
    if damage is damage_row:
        assert record.message.endswith(f"; {ADVICE.format(shop.path)}")
    else:
        assert record.message.endswith("; SQLite's integrity check does not find this damage")
    assert "MARKER" not in record.message


@pytest.mark.parametrize("damaged", [FIRST, FIRST + 19])
def test_one_damaged_order_does_not_make_reads_fail(shop: Shop, damaged: int) -> None:
    damage_rows(shop.path, marker(damaged))
    with shop.opened() as store:
        assert [is_damage(each) for each in store.find([damaged])] == [True]
        store.probe(Work.READS)
        assert store.is_up(Work.READS)


def test_an_order_with_an_unknown_status_cannot_be_found(shop: Shop) -> None:
    change_row(shop.path, BAD, "status", "'Pendin'")
    with shop.opened() as store:
        assert [is_damage(each) for each in store.find([BAD - 1, BAD, BAD + 1])] == [False, True, False]


@DAMAGE
def test_only_the_page_of_a_list_that_contains_a_damaged_order_fails(
    shop: Shop, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    damage(shop.path)
    with shop.opened() as store:
        assert ids(store.list_orders(Listing(limit=8)).orders) == list(range(FIRST + 19, FIRST + 11, -1))
        with pytest.raises(StorageDamagedError):
            store.list_orders(Listing(limit=15))
        assert ids(store.list_orders(Listing(limit=8, last=10)).orders) == list(range(FIRST + 8, FIRST, -1))
        assert store.is_up(Work.READS)
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_totals_are_read_although_the_oldest_pending_order_is_damaged(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    damage_rows(shop.path, marker(FIRST))
    with shop.opened() as store:
        assert (store.totals().pending, store.totals().oldest_pending_us) == (20, None)
        assert store.is_up(Work.READS)
    assert [record.message.partition(" can't")[0] for record in caplog.records] == ["the oldest Pending order"]


# Writing


@pytest.fixture
def large_shop(tmp_path: Path, clock: Clock) -> Shop:
    """Contains 3,000 orders with even ids, so that the index by id has several pages. One of the pages is damaged."""
    shop = Shop(tmp_path / "orders.db", clock)
    with shop.opened() as store:
        store.insert(*map(new_order, range(FIRST, FIRST + 6_000, 2)))
    damage_index_of_id(shop.path, LARGE_BAD - 1)
    return shop


LARGE_BAD = FIRST + 3_001
"""An id whose place in the index is damaged."""


def test_an_order_at_a_damaged_place_fails_alone(large_shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    with large_shop.opened() as store:
        store.recover()
        good = list(range(1, 32))
        batch = [new_order(order_id) for order_id in (*good[:9], LARGE_BAD, *good[9:])]
        results = store.write(batch)
        assert [is_damage(result) for result in results] == [order.order_id == LARGE_BAD for order in batch]
        assert results.count(ACCEPTED) == 31
        assert store.totals().pending == 3_031
        assert ids(store.find(good)) == good
        assert store.is_up(Work.WRITES)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert f"order {LARGE_BAD} can't" in caplog.messages[0]


def test_an_order_of_many_fails_alone(large_shop: Shop) -> None:
    with large_shop.opened() as store:
        orders = [new_order(order_id) for order_id in range(1, 502)]
        orders[300] = new_order(LARGE_BAD)
        single = new_order(10_000)
        [results, accepted] = store.write([NewOrders(orders), single])
        assert isinstance(results, list)
        assert [index for index, result in enumerate(results) if is_damage(result)] == [300]
        assert results.count(ACCEPTED) == 500
        assert accepted is ACCEPTED


def test_many_orders_that_all_fail_are_one_error(large_shop: Shop) -> None:
    with large_shop.opened() as store:
        many, other = store.write([NewOrders([new_order(LARGE_BAD), new_order(LARGE_BAD + 2)]), new_order(1)])
        assert isinstance(many, StorageError)
        assert other is ACCEPTED
        with pytest.raises(StorageDamagedError):
            store.write([NewOrders([new_order(LARGE_BAD)])])


def test_a_batch_in_parts_takes_effect_in_the_documented_order(large_shop: Shop) -> None:
    with large_shop.opened() as store:
        [first, second] = store.claim(2)
        outcomes = [Outcome(each.sequence, 1, Status.PENDING) for each in (first, second)]
        inserted, bad, cancelled, claimed = store.write(
            [new_order(1), new_order(LARGE_BAD), Cancel(second.order_id), FinishAndClaim(outcomes, 2)]
        )
        assert inserted is ACCEPTED
        assert is_damage(bad)
        # The outcome came before the cancel, and the claim came last.
        assert store.find_one(second.order_id).status is Status.CANCELLED
        assert cancelled is not None
        assert isinstance(claimed, ClaimedOrders)
        assert ids(claimed.orders) == [first.order_id, FIRST + 4]


def test_a_replay_in_a_batch_in_parts_is_a_replay(large_shop: Shop) -> None:
    with large_shop.opened() as store:
        store.insert(new_order(1))
        batch = [new_order(1), new_order(2), new_order(LARGE_BAD), new_order(2), new_order(2, user_id=9)]
        replayed, accepted, bad, again, conflict = store.write(batch)
        assert (replayed, accepted, again) == (Insertion.REPLAYED, ACCEPTED, Insertion.REPLAYED)
        assert is_damage(bad)
        assert isinstance(conflict, Exception)
        assert not isinstance(conflict, StorageError)


@DAMAGE
def test_only_the_replay_of_a_damaged_order_fails(shop: Shop, damage: Callable[[Path], None]) -> None:
    damage(shop.path)
    with shop.opened() as store:
        bad, accepted, replayed = store.write([padded(BAD), new_order(1), padded(BAD + 1)])
        assert is_damage(bad)
        assert (accepted, replayed) == (ACCEPTED, Insertion.REPLAYED)


def end_all(store: ShorthandStore, status: Status, clock: Clock) -> None:
    """Makes all orders Failed, or makes them wait for a retry."""
    due_us = clock.now_us + 60 * SECOND_US
    store.finish(*(Outcome(order.sequence, 1, status, "down", due_us) for order in store.claim()))


def retry_all(store: ShorthandStore, status: Status, limit: int) -> list[int]:
    order_ids: list[int] = []
    rest: RetrySelection | None = RetrySelection(status=status)
    while rest:
        retried = store.retry_selected(rest, limit)
        order_ids += [order.order_id for order in retried.orders]
        rest = retried.rest
    return order_ids


@pytest.mark.parametrize("limit", [1, 7, 20, 1_000])
@pytest.mark.parametrize("status", [Status.FAILED, Status.PENDING])
@pytest.mark.parametrize("damage", [damage_row, set_column("user_id", "'x'")], ids=["page", "no number"])
def test_a_bulk_retry_leaves_out_a_damaged_order(
    shop: Shop,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None],
    status: Status,
    limit: int,
) -> None:
    with shop.opened() as store:
        end_all(store, status, clock)
    damage(shop.path)
    with shop.opened() as store:
        others = [order_id for order_id in range(FIRST, FIRST + 20) if order_id != BAD]
        assert retry_all(store, status, limit) == others
        assert ids(store.claim()) == others
        assert store.is_up(Work.WRITES)
    assert caplog.messages[0].startswith("the order with sequence 11 can't be read or written, and is not retried: ")


def test_a_bulk_retry_continues_after_the_limit_of_damaged_orders(shop: Shop, clock: Clock) -> None:
    with shop.opened() as store:
        end_all(store, Status.FAILED, clock)
    prevent_updates(shop.path, "old.sequence <= 10")
    database = open_new_database(shop.path)
    with closing(database), database.connection_context():
        # A batch is repeated in parts for 2 seconds: too short for all damaged orders.
        seconds = count(step=0.3)
        store = ShorthandStore(SqliteStore(database, clock=clock, monotonic=lambda: next(seconds)))
        first = store.retry_selected(RetrySelection(status=Status.FAILED), 1_000)
        assert first.orders == []
        assert first.rest
        assert 0 < first.rest.after < 10
        assert retry_all(store, Status.FAILED, 1_000) == list(range(FIRST + 10, FIRST + 20))


# The whole database


def test_a_damaged_first_page_of_the_index_makes_both_kinds_of_work_fail(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    damage_root(shop.path, "orders_order_id")
    with shop.opened() as store:
        assert store.recover() == 0
        for work in Work:
            with pytest.raises(StorageDamagedError):
                store.probe(work)
        for _ in range(3):
            with pytest.raises(StorageDamagedError):
                store.insert(new_order(1), new_order(2))
            assert [is_damage(each) for each in store.find([FIRST, 1])] == [True, True]
            assert store.totals().pending == 20
        assert not any(store.is_up(work) for work in Work)
    assert [(record.levelname, record.message.partition(":")[0]) for record in caplog.records] == [
        ("ERROR", "reads of the database fail"),
        ("ERROR", "writes of the database fail"),
    ]
    assert all(ADVICE.format(shop.path) in message for message in caplog.messages)


def test_a_damaged_place_for_the_next_ids_is_found_by_a_probe(tmp_path: Path, clock: Clock) -> None:
    shop = Shop(tmp_path / "orders.db", clock)
    with shop.opened() as store:
        store.insert(*map(new_order, range(FIRST, FIRST + 3_000)))
    damage_index_of_id(shop.path, FIRST + 2_999)
    with shop.opened() as store, pytest.raises(StorageDamagedError):
        store.probe(Work.WRITES)


class CountingDatabase:
    """Counts the transactions of a database."""

    def __init__(self, database: RetryingSqliteDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        run = database.run

        def counted(work: Callable[[], object]) -> object:
            self.count += 1
            return run(work)

        monkeypatch.setattr(database, "run", counted)


def test_a_failing_device_does_not_multiply_the_work(
    database: RetryingSqliteDatabase, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    store = ShorthandStore(SqliteStore(database, clock=clock))
    transactions = CountingDatabase(database, monkeypatch)
    database.pragma("query_only", 1)
    for _ in range(3):
        with pytest.raises(StorageUnavailableError, match="readonly"):
            store.insert(*map(new_order, range(1, 1_001)))
    assert transactions.count == 3
    database.pragma("query_only", 0)
    store.insert(new_order(1))
    assert store.status().errors == {"SQLITE_READONLY": 3}
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", caplog.messages[0]),
        ("INFO", "writes of the database work again"),
    ]
    assert caplog.messages[0].endswith("attempt to write a readonly database (SQLITE_READONLY)")


def test_a_batch_of_which_every_order_fails_is_given_up(
    database: RetryingSqliteDatabase, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ShorthandStore(SqliteStore(database, clock=clock))
    database.execute_sql("CREATE TRIGGER broken BEFORE INSERT ON orders BEGIN SELECT RAISE(ABORT, 'broken'); END")
    transactions = CountingDatabase(database, monkeypatch)
    with pytest.raises(StorageUnavailableError, match="broken"):
        store.insert(*map(new_order, range(1, 1_001)))
    assert transactions.count < 50
    assert not store.is_up(Work.WRITES)


def test_a_lock_is_not_damage(store: ShorthandStore, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = open_new_database(tmp_path / "orders.db")
    with closing(other), other.connection_context(), other.atomic(), pytest.raises(StorageBusyError):
        store.insert(new_order(1))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "SQLITE_BUSY" in caplog.messages[0]


# Charts


def test_damaged_measurements_make_neither_reads_nor_writes_of_orders_fail(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    damage_root(shop.path, "measurements")
    with shop.opened() as store:
        for _ in range(2):
            with pytest.raises(StorageDamagedError):
                store.measurements()
            with pytest.raises(StorageDamagedError):
                store.save_measurements([], now_s=0)
        assert store.is_up(Work.READS)
        assert store.is_up(Work.WRITES)
        assert store.insert(new_order(1)) == [ACCEPTED]
    [text] = caplog.messages
    assert text.startswith("the history of the charts can't be read or written: ")
