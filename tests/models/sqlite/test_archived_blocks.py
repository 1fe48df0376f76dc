"""The table `blocks` while the orders of whole blocks are archived, and listings that skip the empty blocks."""

import itertools
import sqlite3
from contextlib import closing
from pathlib import Path

from models.listing import Listing
from models.order import Status
from models.sqlite.check.check import find_errors
from models.sqlite.files.opening import open_database
from models.sqlite.store import SqliteStore
from models.writes.attempts import Outcome
from tests.models.blocks import stored_blocks
from tests.models.samples import SECOND_US, Clock, new_order
from tests.models.shorthand_store import ShorthandStore

COUNT = 3 * 2_048
FAILED = (1, 700, 2_500)
LIMIT = 250


def test_blocks_are_exact_and_empty_blocks_are_skipped(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "orders.db"
    store = ShorthandStore(SqliteStore(open_database(path), clock=clock))
    store.connect()
    store.recover()
    for first in range(1, COUNT + 1, 500):
        clock.now_us += SECOND_US
        store.insert(*(new_order(each, user_id=each % 3 + 1) for each in range(first, min(first + 500, COUNT + 1))))
    store.cancel(800, 801)
    claimed = store.claim(COUNT)
    store.finish(
        *(Outcome(each.sequence, 1, Status.FAILED if each.order_id in FAILED else Status.COMPLETED) for each in claimed)
    )
    clock.now_us += SECOND_US
    after: int | None = 0
    with closing(sqlite3.connect(path)) as reader:
        for number in itertools.count():
            expired = store.find_expired(ended_before_us=clock.now_us, after=after or 0, limit=LIMIT)
            assert not expired.orders or store.archive(*expired.orders)
            if number % 5 == 0 or expired.last is None:
                assert find_errors(reader, progress=lambda step, *_: None) == []
            after = expired.last
            if after is None:
                break
        left = [*FAILED, COUNT]
        assert [block.block for block in stored_blocks(reader)] == [0, 1, 3]
        # Without Completed and Cancelled orders, a block is not searched again.
        assert [bool(block.completed) for block in stored_blocks(reader)] == [False, False, True]
    assert store.find_expired(ended_before_us=clock.now_us).orders == []
    for oldest_first in (False, True):
        expected = left if oldest_first else left[::-1]
        for listing in (
            Listing(limit=9, oldest_first=oldest_first),
            Listing(limit=9, oldest_first=oldest_first, created_from_us=0),
        ):
            assert [order.order_id for order in store.list_orders(listing).orders] == expected
        for user_id in (1, 2, 3):
            listing = Listing(limit=9, user_id=user_id, oldest_first=oldest_first)
            found = [order.order_id for order in store.list_orders(listing).orders]
            assert found == [each for each in expected if each % 3 + 1 == user_id]
        assert store.list_orders(Listing(limit=9, status=Status.CANCELLED, oldest_first=oldest_first)).orders == []
    store.disconnect()
