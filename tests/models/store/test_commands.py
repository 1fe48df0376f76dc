"""Cancelling orders and retrying Failed orders, for every kind of store."""

import pytest
from msgspec.structs import replace

from models.errors import WrongStatusError
from models.order import Status
from models.writes.attempts import ClaimedOrders, FinishAndClaim, Outcome
from models.writes.commands import Cancel, OrderIds, RetriedOrders, Retry, RetrySelection, StatusChanged
from tests.models.samples import SECOND_US, Clock, new_order
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


def test_an_order_that_waits_for_a_retry_is_made_ready_and_keeps_its_attempts(
    store: ShorthandStore, clock: Clock
) -> None:
    store.insert(new_order(1))
    [order] = store.claim()
    due_us = clock.now_us + 60 * SECOND_US
    store.finish_attempt(order, Status.PENDING, "down", due_us=due_us)
    [first, second] = store.write([Retry(1), Retry(1)])
    assert first == StatusChanged(store.find_one(1), Status.PENDING)
    assert isinstance(second, WrongStatusError)
    assert str(second) == "order 1 is Pending, not Failed or waiting for a retry"
    waiting = store.find_one(1)
    assert (waiting.status, waiting.attempts, waiting.error, waiting.due_us) == (Status.PENDING, 1, "down", None)
    assert store.totals().pending == 1
    assert [(each.attempts, each.claims) for each in store.claim()] == [(2, 2)]


def test_an_order_that_is_already_due_can_be_made_ready(store: ShorthandStore, clock: Clock) -> None:
    store.insert(new_order(1))
    [order] = store.claim()
    store.finish_attempt(order, Status.PENDING, "down", due_us=clock.now_us)
    [claimed, retried] = store.write([FinishAndClaim([], 10), Retry(1)])
    assert isinstance(retried, StatusChanged)
    assert claimed == ClaimedOrders([store.find_one(1)])


def fail_and_wait(store: ShorthandStore, clock: Clock, *errors: str) -> None:
    """Inserts two orders for each error, a second apart. The first order is Failed, the second waits for a retry."""
    due_us = clock.now_us + 3_600 * SECOND_US
    for number, error in enumerate(errors):
        clock.now_us += SECOND_US
        store.insert(new_order(10 * number + 1), new_order(10 * number + 2))
        failed, waiting = store.claim()
        store.finish_attempt(failed, Status.FAILED, error)
        store.finish_attempt(waiting, Status.PENDING, error, due_us=due_us)


def retry_all(store: ShorthandStore, selection: RetrySelection, limit: int) -> tuple[list[int], int]:
    """Retries all selected orders. Returns their ids and the number of writes."""
    order_ids: list[int] = []
    rest: RetrySelection | None = selection
    writes = 0
    while rest is not None:
        retried = store.retry_selected(rest, limit)
        order_ids += [each.order_id for each in retried.orders]
        rest = retried.rest
        writes += 1
    return order_ids, writes


@pytest.mark.parametrize(("limit", "writes"), [(1, 6), (2, 3), (3, 2), (4, 2), (5, 2), (6, 1), (1_000, 1)])
@pytest.mark.parametrize(
    ("status", "order_ids", "attempts", "failed"),
    [(Status.FAILED, [1, 11, 21, 31, 41], 0, 0), (Status.PENDING, [2, 12, 22, 32, 42], 1, 5)],
)
def test_selected_orders_are_retried_oldest_first_up_to_the_limit(
    store: ShorthandStore,
    clock: Clock,
    status: Status,
    order_ids: list[int],
    attempts: int,
    failed: int,
    limit: int,
    writes: int,
) -> None:
    fail_and_wait(store, clock, *"abcde")
    store.insert(new_order(99, user_id=7))
    assert retry_all(store, RetrySelection(status=status), limit) == (order_ids, writes)
    assert [order.attempts for order in store.find(order_ids) if order] == [attempts] * 5
    assert (store.totals().failed, store.totals().pending) == (failed, 11 - failed)
    assert [order.order_id for order in store.claim()] == [*order_ids, 99]


def test_the_result_identifies_the_retried_orders(store: ShorthandStore) -> None:
    store.insert(new_order(5), new_order(7, user_id=3))
    store.finish(*(Outcome(order.sequence, 1, Status.FAILED, "no") for order in store.claim()))
    selection = RetrySelection(status=Status.FAILED)
    retried = store.retry_selected(selection, 2)
    assert retried == RetriedOrders([OrderIds(1, 5, 1), OrderIds(2, 7, 3)], replace(selection, after=2, last=2))


@pytest.mark.parametrize("limit", [1, 2, 1_000])
@pytest.mark.parametrize("status", [Status.FAILED, Status.PENDING])
@pytest.mark.parametrize(
    ("error", "from_s", "until_s", "expected"),
    [
        ("503", None, None, [0, 2]),
        ("answered 503: x", None, None, [0]),
        ("Answered", None, None, []),
        ("%", None, None, [3]),
        (None, 2, None, [1, 2, 3]),
        (None, None, 2, [0]),
        (None, 2, 4, [1, 2]),
        ("503", 2, 4, [2]),
    ],
)
def test_orders_are_selected_by_their_error_and_time(
    store: ShorthandStore,
    clock: Clock,
    status: Status,
    limit: int,
    error: str | None,
    from_s: int | None,
    until_s: int | None,
    expected: list[int],
) -> None:
    begin_us = clock.now_us
    fail_and_wait(store, clock, "the receiver answered 503: x", "the receiver answered 500", "503", "100 %")
    selection = RetrySelection(
        status=status,
        error=error,
        created_from_us=None if from_s is None else begin_us + from_s * SECOND_US,
        created_until_us=None if until_s is None else begin_us + until_s * SECOND_US,
    )
    order_ids, _ = retry_all(store, selection, limit)
    assert order_ids == [10 * number + 1 + (status is Status.PENDING) for number in expected]


@pytest.mark.parametrize("status", [Status.FAILED, Status.PENDING])
def test_orders_that_fail_during_the_retry_are_not_retried_again(
    store: ShorthandStore, clock: Clock, status: Status
) -> None:
    fail_and_wait(store, clock, *"abc")
    rest: RetrySelection | None = RetrySelection(status=status)
    count = 0
    while rest is not None:
        retried = store.retry_selected(rest, 1)
        rest = retried.rest
        count += len(retried.orders)
        store.insert(new_order(100 + count))
        for order in store.claim():
            store.finish_attempt(order, status, "again", due_us=clock.now_us + 3_600 * SECOND_US)
        assert count <= 3
    assert count == 3
