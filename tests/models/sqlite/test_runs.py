"""Packed orders that are claimed by the commit that stores them, and completed as a run."""

import pytest

from models.order import Status
from models.sqlite.database import RetryingSqliteDatabase
from models.writes.attempts import ClaimedOrders, FinishAndClaim, Outcome
from models.writes.claimed_run import ClaimedRun
from models.writes.insertion import Insertion, NewOrders
from tests.models.blocks import check_blocks, connection_of
from tests.models.packed import pack
from tests.models.samples import SECOND_US, Clock, new_order
from tests.models.shop import BAD, FIRST, Shop, damage_row
from tests.models.shorthand_store import ShorthandStore

COUNT = 5_000
"""The number of orders: three blocks."""
ACCEPTED, REPLAYED = Insertion.ACCEPTED, Insertion.REPLAYED


@pytest.fixture
def store(store: ShorthandStore) -> ShorthandStore:
    assert store.recover() == 0
    return store


def claim_run(store: ShorthandStore, first: int, count: int) -> ClaimedRun:
    """Stores and claims new orders with these ids."""
    orders = [new_order(order_id, user_id=order_id) for order_id in range(first, first + count)]
    results, claimed = store.write([NewOrders(pack(*orders)), FinishAndClaim([], count)])
    assert results == [ACCEPTED] * count
    assert isinstance(claimed, ClaimedOrders)
    assert isinstance(claimed.orders, ClaimedRun)
    return claimed.orders


def complete(store: ShorthandStore, *runs: ClaimedRun, outcomes: tuple[Outcome, ...] = ()) -> None:
    assert store.write([FinishAndClaim(outcomes, 0, completed=runs)]) == [ClaimedOrders([])]


def test_a_run_has_the_orders_as_they_are_stored(store: ShorthandStore) -> None:
    store.insert_and_claim(new_order(9))
    run = claim_run(store, 1, 5)
    assert list(run) == store.find([1, 2, 3, 4, 5])
    assert [order.sequence for order in run] == list(run.sequences) == [2, 3, 4, 5, 6]


def test_completed_runs_are_recorded_like_single_outcomes(
    database: RetryingSqliteDatabase, store: ShorthandStore, clock: Clock
) -> None:
    runs = [claim_run(store, first, COUNT // 4) for first in range(1, COUNT, COUNT // 4)]
    check_blocks(connection_of(database))
    clock.now_us += 3 * SECOND_US
    complete(store, *runs)
    check_blocks(connection_of(database))
    totals = store.totals()
    assert (totals.processing, totals.completed, totals.processing_us) == (0, COUNT, COUNT * 3 * SECOND_US)
    order = store.find_one(COUNT)
    assert (order.status, order.attempts, order.claims) == (Status.COMPLETED, 1, 1)
    assert order.processed_us == order.created_us + 3 * SECOND_US


def test_an_attempt_of_a_run_that_has_already_ended_is_not_recorded_again(
    database: RetryingSqliteDatabase, store: ShorthandStore, clock: Clock
) -> None:
    run = claim_run(store, 1, 10)
    failed, waiting = Outcome(run.sequences[3], 1, Status.FAILED, "no"), Outcome(run.sequences[4], 1, Status.PENDING)
    store.finish(failed, waiting)
    [again] = store.claim()
    for _ in range(2):
        clock.now_us += SECOND_US
        complete(store, run, run, outcomes=(failed,))
        check_blocks(connection_of(database))
        totals = store.totals()
        assert (totals.completed, totals.failed, totals.processing) == (8, 1, 1)
        assert totals.processing_us == 8 * SECOND_US
    assert store.find_one(5) == again


def test_orders_that_repeat_within_a_group_or_are_stored_are_no_run(store: ShorthandStore) -> None:
    store.insert_and_claim(new_order(3))
    orders = pack(*map(new_order, (4, 3, 5, 4)), new_order(3, user_id=9))
    results, claimed = store.write([NewOrders(orders), FinishAndClaim([], 10)])
    assert isinstance(results, list)
    assert results[:4] == [ACCEPTED, REPLAYED, ACCEPTED, REPLAYED]
    assert isinstance(claimed, ClaimedOrders)
    assert list(claimed.orders) == store.find([4, 5])


def test_only_as_many_packed_orders_are_stored_as_may_be_pending(store: ShorthandStore) -> None:
    results = store.write([NewOrders(pack(*map(new_order, (1, 2, 3))))], max_pending=2)[0]
    assert isinstance(results, list)
    assert (results[:2], type(results[2]).__name__) == ([ACCEPTED] * 2, "BacklogFullError")


def test_a_run_is_completed_at_its_own_time_after_a_step_of_the_wall_clock(
    database: RetryingSqliteDatabase, store: ShorthandStore, clock: Clock
) -> None:
    before = claim_run(store, 1, 2)
    clock.ahead_us += 3_600 * SECOND_US
    after = claim_run(store, 3, 2)
    clock.now_us += SECOND_US
    complete(store, before, after)
    check_blocks(connection_of(database))
    for order_id in range(1, 5):
        order = store.find_one(order_id)
        assert order.processed_us == order.created_us + SECOND_US
    assert store.totals().processing_us == 4 * SECOND_US


def test_the_other_orders_of_a_run_are_completed_if_one_is_damaged(shop: Shop) -> None:
    with shop.opened() as store:
        claimed = store.claim()
    damage_row(shop.path)
    orders = [new_order(order.order_id) for order in claimed]
    run = ClaimedRun(orders, claimed[0].sequence, claimed[0].created_us)
    assert [order.order_id for order in run][:2] == [FIRST, FIRST + 1]
    with shop.opened() as store:
        for _ in range(2):
            complete(store, run)
            assert (store.totals().completed, store.totals().processing) == (19, 1)
        assert store.find_one(BAD + 1).status is Status.COMPLETED
