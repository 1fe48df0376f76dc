"""The table of blocks after writes, and a damaged one."""

from pathlib import Path

import pytest

from models.database.health import Work
from models.errors import StorageDamagedError
from models.listing import Listing
from models.order import Order, Status
from models.sqlite.database import RetryingSqliteDatabase
from models.writes.attempts import Outcome
from models.writes.commands import Cancel
from models.writes.insertion import Insertion
from tests.models.blocks import Block, check_blocks, computed_blocks, connection_of, stored_blocks
from tests.models.damage import damage_root
from tests.models.samples import SECOND_US, Clock, new_order
from tests.models.shop import FIRST, Shop, ids, padded
from tests.models.shorthand_store import ShorthandStore

COUNT = 5_000
"""The number of orders: three blocks."""


def completed(orders: list[Order]) -> list[Outcome]:
    return [Outcome(order.sequence, order.claims, Status.COMPLETED) for order in orders]


def test_new_orders_add_blocks_with_their_times(
    database: RetryingSqliteDatabase, store: ShorthandStore, clock: Clock
) -> None:
    start_us = clock.now_us
    for count, ahead_s in ((10, 0), (2_037, 5), (1, 2), (4_100, 9)):
        clock.ahead_us = ahead_s * SECOND_US
        first = store.totals().orders + 1
        store.insert(*map(new_order, range(first, first + count)))
    times_s = [(0, 5), (2, 9), (9, 9), (9, 9)]
    assert stored_blocks(connection_of(database)) == [
        Block(block, start_us + first_s * SECOND_US, start_us + last_s * SECOND_US, 0)
        for block, (first_s, last_s) in enumerate(times_s)
    ]


def test_orders_that_are_already_stored_change_no_block(
    database: RetryingSqliteDatabase, store: ShorthandStore, clock: Clock
) -> None:
    store.insert(new_order(1))
    before = stored_blocks(connection_of(database))
    clock.now_us += SECOND_US
    assert store.insert(new_order(1), new_order(1, user_id=9)) == [Insertion.REPLAYED, 1]
    assert stored_blocks(connection_of(database)) == before


@pytest.mark.parametrize("step", [1, 3, 100])
def test_only_chunks_with_completed_orders_get_a_bit(
    database: RetryingSqliteDatabase, store: ShorthandStore, step: int
) -> None:
    store.insert(*map(new_order, range(1, COUNT + 1)))
    claimed = [order for _ in range(5) for order in store.claim()]
    for begin in range(0, COUNT, 800):
        store.finish(*completed(claimed[begin : begin + 800 : step]))
    connection = connection_of(database)
    assert stored_blocks(connection) == computed_blocks(connection)


def test_no_other_change_of_a_status_sets_a_bit(database: RetryingSqliteDatabase, store: ShorthandStore) -> None:
    store.insert(*map(new_order, range(1, 200)))
    store.write([Cancel(1)])
    claimed = store.claim()
    store.finish(*(Outcome(order.sequence, 1, Status.FAILED, "no") for order in claimed[:100]))
    store.finish(*(Outcome(order.sequence, 1, Status.PENDING) for order in claimed[100:]))
    store.retry(2, 3)
    assert [block.completed for block in stored_blocks(connection_of(database))] == [0]


def test_a_late_outcome_sets_at_most_a_bit_too_many(database: RetryingSqliteDatabase, store: ShorthandStore) -> None:
    store.insert(new_order(1))
    store.finish(Outcome(1, 7, Status.COMPLETED))
    check_blocks(connection_of(database))
    assert store.list_orders(Listing(limit=1, status=Status.COMPLETED)).orders == []


def test_a_damaged_table_of_blocks_makes_writes_fail_and_most_reads_work(shop: Shop) -> None:
    damage_root(shop.path, "blocks")
    with shop.opened() as store:
        with pytest.raises(StorageDamagedError):
            store.insert(padded(1))
        assert not store.is_up(Work.WRITES)
        assert store.is_up(Work.READS)
        assert ids(store.find([FIRST])) == [FIRST]
        assert len(store.list_orders(Listing(limit=30)).orders) == 20
        assert len(store.list_orders(Listing(limit=30, status=Status.PENDING)).orders) == 20
        with pytest.raises(StorageDamagedError):
            store.list_orders(Listing(limit=30, created_from_us=0))


def test_the_probe_of_writes_leaves_no_block(
    database: RetryingSqliteDatabase, store: ShorthandStore, tmp_path: Path
) -> None:
    store.probe(Work.WRITES)
    assert stored_blocks(connection_of(database)) == []
