"""Delayed retries, for every kind of store."""

from msgspec.structs import replace

from models.order import Status
from models.writes.attempts import ClaimedOrders, FinishAndClaim, Outcome
from tests.models.samples import SECOND_US, Clock, new_order
from tests.models.shorthand_store import ShorthandStore


def test_a_retry_is_claimed_when_it_is_due_and_not_before(store: ShorthandStore, clock: Clock) -> None:
    store.insert(new_order(1))
    [order] = store.claim()
    due_us = clock.now_us + SECOND_US
    store.finish_attempt(order, Status.PENDING, "down", due_us=due_us)
    waiting = store.find_one(1)
    assert (waiting.status, waiting.attempts, waiting.error, waiting.processed_us) == (Status.PENDING, 1, "down", None)
    assert waiting.due_us == due_us
    for now_us in (clock.now_us, due_us - 1):
        clock.now_us = now_us
        assert store.finish_and_claim([], 10) == ClaimedOrders([], due_us)
    clock.now_us = due_us
    retried = replace(waiting, status=Status.PROCESSING, attempts=2, claims=2, due_us=None)
    assert store.finish_and_claim([], 10) == ClaimedOrders([retried], None)


def test_an_attempt_that_does_not_count_leaves_its_error_and_its_delay(store: ShorthandStore, clock: Clock) -> None:
    store.insert(new_order(1))
    for claims in (1, 2, 3):
        [order] = store.claim()
        assert (order.attempts, order.claims) == (1, claims)
        store.finish(
            Outcome(order.sequence, order.claims, Status.PENDING, "busy", clock.now_us + SECOND_US, counts=False)
        )
        waiting = store.find_one(1)
        assert (waiting.status, waiting.attempts, waiting.error) == (Status.PENDING, 0, "busy")
        assert store.claim() == []
        clock.now_us += SECOND_US


def test_an_order_keeps_its_last_error_until_it_is_completed(store: ShorthandStore, clock: Clock) -> None:
    store.insert(new_order(1))
    for error in ("one", "two"):
        [order] = store.claim()
        store.finish_attempt(order, Status.PENDING, error, due_us=clock.now_us)
        assert store.find_one(1).error == error
    [order] = store.claim()
    assert order.error == "two"
    store.finish_attempt(order, Status.PENDING)
    returned = store.find_one(1)
    assert (returned.error, returned.attempts) == ("two", 2)
    [order] = store.claim()
    store.finish_attempt(order, Status.COMPLETED)
    done = store.find_one(1)
    assert (done.error, done.attempts) == (None, 3)


def test_due_retries_are_claimed_before_newer_orders(store: ShorthandStore, clock: Clock) -> None:
    store.insert(*map(new_order, (1, 2, 3, 4)))
    first, second, third = store.claim(3)
    store.finish_attempt(third, Status.PENDING, "down", due_us=clock.now_us + 1)
    store.finish_attempt(first, Status.PENDING, "down", due_us=clock.now_us + 2)
    store.finish_attempt(second, Status.PENDING, "down", due_us=clock.now_us + SECOND_US)
    store.insert(new_order(5))
    clock.now_us += 2
    claimed = store.finish_and_claim([], 10)
    assert [order.order_id for order in claimed.orders] == [1, 3, 4, 5]
    assert claimed.next_due_us == clock.now_us + SECOND_US - 2


def test_a_due_retry_is_claimed_before_the_new_orders_of_a_write(store: ShorthandStore, clock: Clock) -> None:
    store.insert(new_order(1))
    [order] = store.claim()
    store.finish_attempt(order, Status.PENDING, "down", due_us=clock.now_us)
    [_, claimed] = store.write([new_order(2), FinishAndClaim([], 1)])
    assert isinstance(claimed, ClaimedOrders)
    assert [order.order_id for order in claimed.orders] == [1]


def test_an_order_that_waits_for_a_retry_is_the_oldest_pending_once_it_is_due(
    store: ShorthandStore, clock: Clock
) -> None:
    first_us = clock.now_us
    store.insert(new_order(1))
    [order] = store.claim()
    store.finish_attempt(order, Status.PENDING, "down", due_us=clock.now_us + 60 * SECOND_US)
    clock.now_us += SECOND_US
    store.insert(new_order(2))
    assert store.totals().oldest_pending_us == first_us + SECOND_US
    clock.now_us += 59 * SECOND_US - 1
    assert store.totals().oldest_pending_us == first_us + SECOND_US
    clock.now_us += 1
    assert store.totals().oldest_pending_us == first_us
    store.cancel(1)
    assert store.totals().oldest_pending_us == first_us + SECOND_US


def test_of_several_due_retries_the_earliest_is_the_oldest_pending(store: ShorthandStore, clock: Clock) -> None:
    first_us = clock.now_us
    for order_id in (1, 2):
        store.insert(new_order(order_id))
        clock.now_us += SECOND_US
    first, second = store.claim(2)
    store.finish_attempt(first, Status.PENDING, "down", due_us=clock.now_us + 2)
    store.finish_attempt(second, Status.PENDING, "down", due_us=clock.now_us + 1)
    assert store.totals().oldest_pending_us is None
    clock.now_us += 2
    assert store.totals().oldest_pending_us == first_us + SECOND_US


def test_totals_count_the_orders_that_wait_for_a_retry(store: ShorthandStore, clock: Clock) -> None:
    store.insert(*[new_order(order_id) for order_id in range(1, 5)])
    first, second, third = store.claim(3)
    store.finish_attempt(first, Status.PENDING, "down", due_us=clock.now_us + SECOND_US)
    store.finish_attempt(second, Status.PENDING, "down", due_us=clock.now_us + 2 * SECOND_US)
    store.finish_attempt(third, Status.PENDING)
    assert (store.totals().pending, store.totals().waiting) == (4, 2)
    store.cancel(1)
    assert (store.totals().pending, store.totals().waiting) == (3, 1)
    clock.now_us += 2 * SECOND_US
    store.claim(1)
    assert (store.totals().pending, store.totals().waiting) == (2, 0)
