"""Damaged orders are skipped, so that the other orders are processed. Damaged orders are tried again later."""

import re
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from models.database.health import Work
from models.errors import BacklogFullError, StorageDamagedError
from models.order import Status
from models.sqlite.damage.skipped import TRY_AGAIN_US
from models.sqlite.store import SqliteStore
from models.writes.attempts import ClaimedOrders, FinishAndClaim, Outcome
from models.writes.insertion import Insertion
from tests.models.damage import change_row, damage_root, permit_updates, prevent_updates
from tests.models.new_database import open_new_database
from tests.models.samples import Clock, new_order
from tests.models.shop import BAD, DAMAGE, FIRST, Shop, damage_row, ids, padded
from tests.models.shorthand_store import ShorthandStore

ACCEPTED = Insertion.ACCEPTED
ADVICE = re.compile(
    "to check the file: python server.py --database .* --check$|SQLite's integrity check does not find this damage$"
)
STAYS_PENDING = "the order with sequence 11 can't be read or written, and stays Pending: "
STAYS_PROCESSING = "the order with sequence 11 can't be read or written, and stays Processing: "


@DAMAGE
def test_a_damaged_order_is_skipped_and_the_others_are_claimed(
    shop: Shop, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    damage(shop.path)
    with shop.opened() as store:
        others = [order_id for order_id in range(FIRST, FIRST + 20) if order_id != BAD]
        assert ids(store.claim(15)) == others[:15]
        assert ids(store.claim(15)) == others[15:]
        assert store.claim(15) == []
        results = store.write([new_order(1), FinishAndClaim([], 5)])
        assert results[0] is ACCEPTED
        assert ids(store.claim()) == [] != ids(results[1].orders if isinstance(results[1], ClaimedOrders) else [])
        assert store.totals().pending == 1
        assert store.is_up(Work.WRITES)
    [message] = [each for each in caplog.messages if STAYS_PENDING in each]
    assert ADVICE.search(message)


@DAMAGE
def test_a_damaged_order_that_waits_for_a_retry_is_skipped(
    shop: Shop, clock: Clock, damage: Callable[[Path], None]
) -> None:
    with shop.opened() as store:
        due_us = clock.now_us + 5
        store.finish(*(Outcome(each.sequence, 1, Status.PENDING, "down", due_us) for each in store.claim()))
    damage(shop.path)
    with shop.opened() as store:
        assert store.claim() == []
        clock.now_us = due_us
        assert ids(store.claim()) == [order_id for order_id in range(FIRST, FIRST + 20) if order_id != BAD]
        assert store.finish_and_claim([], 5) == ClaimedOrders([], due_us + TRY_AGAIN_US)


def test_the_outcomes_of_other_orders_are_recorded(shop: Shop, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with shop.opened() as store:
        claimed = store.claim()
    damage_row(shop.path)
    with shop.opened() as store:
        done = [Outcome(each.sequence, 1, Status.COMPLETED) for each in claimed]
        for _ in range(2):
            assert store.finish_and_claim(done, 1) == ClaimedOrders([], clock.now_us + TRY_AGAIN_US)
            assert (store.totals().completed, store.totals().processing) == (19, 1)
    assert any(STAYS_PROCESSING in each for each in caplog.messages)


def test_recovery_leaves_out_damaged_orders(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    with shop.opened() as store:
        store.claim()
    damage_row(shop.path)
    with shop.opened() as store:
        assert store.recover() == 19
        assert (store.totals().pending, store.totals().processing) == (19, 1)
        # The number of Pending orders is known.
        [full] = store.write([new_order(1)], max_pending=19)
        assert isinstance(full, BacklogFullError)
        assert store.write([new_order(1)], max_pending=20) == [ACCEPTED]
    assert any(STAYS_PROCESSING in each for each in caplog.messages)


def test_recovery_does_not_skip_a_damaged_order_if_it_was_not_processing(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    with shop.opened() as store:
        claimed = store.claim()
        store.finish(*(Outcome(each.sequence, 1, Status.COMPLETED) for each in claimed if each.order_id == BAD))
    damage_row(shop.path)
    with shop.opened() as store:
        assert store.recover() == 19
        assert (store.totals().pending, store.totals().processing) == (19, 0)
    assert caplog.messages == []


def test_recovery_finds_the_interrupted_attempts_of_all_blocks_among_damaged_orders(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop(tmp_path / "orders.db", clock)
    with shop.opened() as store:
        store.insert(*map(new_order, range(1, 2_101)), padded(BAD), *map(new_order, range(2_101, 5_001)))
        claimed = [order for _ in range(6) for order in store.claim()]
        ended = [each for each in claimed if each.order_id != BAD and 10 < each.sequence < 4_990]
        for begin in range(0, len(ended), 1_000):
            store.finish(*(Outcome(each.sequence, 1, Status.COMPLETED) for each in ended[begin : begin + 1_000]))
        assert store.totals().processing == 23
    damage_row(shop.path)
    with shop.opened() as store:
        assert store.recover() == 22
        assert (store.totals().pending, store.totals().processing) == (22, 1)
    stuck = [message for message in caplog.messages if "stays Processing" in message]
    # The damaged page also had other orders. It is not known which of these orders was Processing.
    assert any("the order with sequence 2101 " in message for message in stuck)


def test_a_claim_that_fails_for_all_orders_is_logged_and_loses_no_outcome(
    shop: Shop, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with shop.opened() as store:
        [first, *_] = store.claim(2)
        store.finish(Outcome(2, 1, Status.PENDING, "down", clock.now_us))
    damage_root(shop.path, "orders_pending")
    with shop.opened() as store:
        done = Outcome(first.sequence, 1, Status.COMPLETED)
        # The due time is in the past, so the caller claims again.
        assert store.finish_and_claim([done], 5) == ClaimedOrders([], 0)
        assert store.find_one(first.order_id).status is Status.COMPLETED
        with pytest.raises(StorageDamagedError):
            store.claim()
    assert any(record.levelname == "ERROR" and ADVICE.search(record.message) for record in caplog.records)


def test_without_the_list_of_interrupted_attempts_the_store_opens(shop: Shop) -> None:
    with shop.opened() as store:
        store.claim()
    damage_root(shop.path, "blocks_processing")
    with shop.opened() as store:
        assert store.recover() == 0
        assert ids(store.find([FIRST])) == [FIRST]


def test_many_damaged_orders_are_found_in_several_claims(
    shop: Shop, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    prevent_updates(shop.path, "old.sequence <= 10")
    database = open_new_database(shop.path)
    with closing(database), database.connection_context():
        # A batch is repeated in parts for 2 seconds: too short for all damaged orders.
        seconds = count(step=0.3)
        store = ShorthandStore(SqliteStore(database, clock=clock, monotonic=lambda: next(seconds)))
        claims = 0
        late = Outcome(99, 1, Status.COMPLETED)  # a write with an outcome does not raise if only its claim fails
        while not (orders := store.finish_and_claim([late], 100).orders):
            claims += 1
        assert 1 < claims < 10
        assert ids(orders) == list(range(FIRST + 10, FIRST + 20))
    names = [message.partition(" can't")[0] for message in caplog.messages]
    assert sorted(names) == sorted(f"the order with sequence {number}" for number in range(1, 11))


# Trying again


def test_a_skipped_order_is_claimed_after_its_repair(
    shop: Shop, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    change_row(shop.path, BAD, "item_ids", "'[1,'")
    with shop.opened() as store:
        assert len(store.claim()) == 19
        for _ in range(3):  # it is tried again, and fails
            clock.now_us += TRY_AGAIN_US
            assert store.finish_and_claim([], 5) == ClaimedOrders([], clock.now_us + TRY_AGAIN_US)
        change_row(shop.path, BAD, "item_ids", "'[1]'")
        clock.now_us += TRY_AGAIN_US - 1
        assert store.claim() == []
        clock.now_us += 1
        assert ids(store.claim()) == [BAD]
        assert (store.totals().pending, store.totals().processing) == (0, 20)
    assert [message.partition(" can")[0] for message in caplog.messages] == ["the order with sequence 11"] * 2
    assert caplog.records[-1].levelname == "INFO"
    assert caplog.messages[-1].endswith("can be read and written again")


def test_the_outcome_of_a_skipped_order_is_recorded_later(shop: Shop, clock: Clock) -> None:
    with shop.opened() as store:
        claimed = store.claim()
        prevent_updates(shop.path)
        store.finish_and_claim([Outcome(each.sequence, 1, Status.COMPLETED) for each in claimed], 0)
        clock.now_us += TRY_AGAIN_US
        store.insert(new_order(1))
        assert store.find_one(BAD).status is Status.PROCESSING
        permit_updates(shop.path)
        clock.now_us += TRY_AGAIN_US
        store.insert(new_order(2))
        assert store.find_one(BAD).status is Status.COMPLETED
        assert (store.totals().completed, store.totals().processing) == (20, 0)


def test_skipped_orders_are_tried_in_turn(shop: Shop, clock: Clock) -> None:
    prevent_updates(shop.path, "old.sequence IN (11, 12)")
    with shop.opened() as store:
        assert len(store.claim()) == 18
        permit_updates(shop.path)
        prevent_updates(shop.path)
        clock.now_us += TRY_AGAIN_US
        assert store.claim() == []
        clock.now_us += TRY_AGAIN_US
        assert ids(store.claim()) == [BAD + 1]


def test_after_a_success_the_next_skipped_order_is_tried_at_once(shop: Shop, clock: Clock) -> None:
    prevent_updates(shop.path, "old.sequence IN (11, 12)")
    with shop.opened() as store:
        store.claim()
        permit_updates(shop.path)
        clock.now_us += TRY_AGAIN_US
        first, second = (store.finish_and_claim([], 5) for _ in range(2))
        assert (ids(first.orders), first.next_due_us) == ([BAD], clock.now_us)
        assert (ids(second.orders), second.next_due_us) == ([BAD + 1], None)


def test_a_new_order_is_claimed_at_once_while_another_stays_processing(shop: Shop, clock: Clock) -> None:
    with shop.opened() as store:
        claimed = store.claim()
        prevent_updates(shop.path)
        store.finish(*(Outcome(each.sequence, 1, Status.COMPLETED) for each in claimed))
        _, result = store.write([new_order(1), FinishAndClaim([], 1)])
        assert isinstance(result, ClaimedOrders)
        assert (ids(result.orders), result.next_due_us) == ([1], clock.now_us + TRY_AGAIN_US)


def test_an_interrupted_attempt_is_ended_after_the_repair(shop: Shop, clock: Clock) -> None:
    with shop.opened() as store:
        store.claim()
    prevent_updates(shop.path)
    with shop.opened() as store:
        assert store.recover() == 19
        permit_updates(shop.path)
        clock.now_us += TRY_AGAIN_US
        assert len(store.claim()) == 20


def test_interrupted_attempts_that_a_slow_recovery_did_not_end_are_ended_later(
    shop: Shop, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with shop.opened() as store:
        store.claim()
    prevent_updates(shop.path)
    database = open_new_database(shop.path)
    with closing(database), database.connection_context():
        seconds = count(step=20.0)
        store = ShorthandStore(SqliteStore(database, clock=clock, monotonic=lambda: next(seconds)))
        assert store.recover() == 0
        permit_updates(shop.path)
        clock.now_us += TRY_AGAIN_US
        for number in range(20):
            assert store.totals().pending == number
            store.write([])
        assert store.totals().pending == 20
    assert caplog.messages[0].startswith("20 more orders can't be read or written, and stay Processing: not tried")
