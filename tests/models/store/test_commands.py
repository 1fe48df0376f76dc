"""Cancelling orders and retrying Failed orders, for every kind of store."""

from models.errors import WrongStatusError
from models.order import Status
from models.writes import Cancel, ClaimedOrders, FinishAndClaim, OrderIds, Outcome, RetriedOrders, Retry, StatusChanged
from tests.models.samples import Clock, new_order
from tests.models.shorthand_store import ShorthandStore


def test_a_cancel_takes_effect_before_a_claim_in_the_same_write(store: ShorthandStore) -> None:
    store.insert(*map(new_order, (1, 2)))
    claimed, cancelled = store.write([FinishAndClaim([], 10), Cancel(1)])
    assert isinstance(claimed, ClaimedOrders)
    assert [order.order_id for order in claimed.orders] == [2]
    assert cancelled == StatusChanged(store.find_one(1), Status.PENDING)
    assert store.find_one(1).status is Status.CANCELLED


def test_a_cancel_takes_effect_after_the_outcomes_in_the_same_write(store: ShorthandStore, clock: Clock) -> None:
    store.insert(*map(new_order, (1, 2)))
    first, second = store.claim()
    outcomes = [
        Outcome(first.sequence, 1, Status.COMPLETED),
        Outcome(second.sequence, 1, Status.PENDING, "down", clock.now_us),
    ]
    results = store.write([Cancel(1), Cancel(2), Cancel(9), Cancel(2), FinishAndClaim(outcomes, 10)])
    assert isinstance(results[0], WrongStatusError)
    assert str(results[0]) == "order 1 is Completed, not Pending"
    assert results[1] == StatusChanged(store.find_one(2), Status.PENDING)
    assert results[3] == StatusChanged(store.find_one(2), Status.CANCELLED)
    assert results[2] is None
    assert results[4] == ClaimedOrders([], None)
    totals = store.totals()
    assert (totals.completed, totals.cancelled, totals.pending, totals.processing) == (1, 1, 0, 0)


def test_a_retried_order_is_claimed_in_the_same_write(store: ShorthandStore) -> None:
    store.insert(new_order(1))
    [order] = store.claim()
    store.finish_attempt(order, Status.FAILED, "no stock")
    [claimed, retried, again] = store.write([FinishAndClaim([], 10), Retry(1), Retry(1)])
    assert isinstance(retried, StatusChanged)
    assert retried.previous_status is Status.FAILED
    assert (retried.order.status, retried.order.attempts, retried.order.error) == (Status.PENDING, 0, None)
    assert isinstance(again, WrongStatusError)
    assert claimed == ClaimedOrders([store.find_one(1)])
    assert (store.find_one(1).attempts, store.find_one(1).claims) == (1, 2)


def test_an_outcome_of_an_attempt_before_a_retry_changes_nothing(store: ShorthandStore) -> None:
    store.insert(new_order(1))
    [first] = store.claim()
    store.finish_attempt(first, Status.FAILED, "no stock")
    store.retry(1)
    [second] = store.claim()
    assert (first.attempts, second.attempts) == (1, 1)
    store.finish_attempt(first, Status.COMPLETED)
    assert store.find_one(1) == second


def test_failed_orders_are_retried_oldest_first_up_to_the_limit(store: ShorthandStore) -> None:
    store.insert(*map(new_order, range(1, 8)))
    store.finish(*(Outcome(order.sequence, 1, Status.FAILED, "no") for order in store.claim(5)))
    assert store.retry_failed(0, 2) == RetriedOrders([OrderIds(1, 1, 1), OrderIds(2, 2, 1)], 2)
    assert store.retry_failed(2, 2) == RetriedOrders([OrderIds(3, 3, 1), OrderIds(4, 4, 1)], 4)
    assert store.retry_failed(4, 2) == RetriedOrders([OrderIds(5, 5, 1)], 5)
    assert store.retry_failed(5, 2) == RetriedOrders([], 5)
    assert [order.order_id for order in store.claim()] == [1, 2, 3, 4, 5, 6, 7]
