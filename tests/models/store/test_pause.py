"""Pausing and resuming processing, for every kind of store."""

from models.order import Status
from models.writes.attempts import ClaimedOrders, FinishAndClaim, Outcome
from models.writes.commands import SetPaused
from models.writes.insertion import Insertion
from tests.models.engines import Engine
from tests.models.samples import SECOND_US, Clock, new_order
from tests.models.shorthand_store import ShorthandStore

PAUSE, RESUME = SetPaused(True), SetPaused(False)


def test_no_order_is_claimed_while_processing_is_paused(store: ShorthandStore, clock: Clock) -> None:
    store.insert(new_order(1))
    assert store.write([PAUSE, FinishAndClaim([], 10)]) == [True, ClaimedOrders([])]
    assert (store.is_paused, store.totals().is_paused) == (True, True)
    assert store.write([new_order(2), FinishAndClaim([], 10)]) == [Insertion.ACCEPTED, ClaimedOrders([])]
    assert store.find_one(2).status is Status.PENDING
    assert store.totals().pending == 2
    resumed, claimed = store.write([RESUME, FinishAndClaim([], 10)])
    assert resumed is True
    assert isinstance(claimed, ClaimedOrders)
    assert [order.order_id for order in claimed.orders] == [1, 2]


def test_a_new_order_is_not_claimed_in_the_commit_that_stores_it_and_pauses(store: ShorthandStore) -> None:
    results = store.write([new_order(1), FinishAndClaim([], 10), PAUSE])
    assert results == [Insertion.ACCEPTED, ClaimedOrders([]), True]


def test_running_attempts_end_normally_and_due_retries_wait(store: ShorthandStore, clock: Clock) -> None:
    store.insert(new_order(1), new_order(2))
    first, second = store.claim()
    store.write([PAUSE])
    store.finish_attempt(first, Status.COMPLETED)
    store.finish_attempt(second, Status.PENDING, "down", due_us=clock.now_us + SECOND_US)
    clock.now_us += 2 * SECOND_US
    assert (store.find_one(1).status, store.claim()) == (Status.COMPLETED, [])
    store.write([RESUME])
    assert [order.order_id for order in store.claim()] == [2]


def test_a_second_pause_or_resume_changes_nothing(store: ShorthandStore) -> None:
    assert store.write([RESUME, PAUSE, PAUSE, RESUME, RESUME, PAUSE]) == [False, True, False, True, False, True]
    assert store.is_paused


def test_the_pause_survives_a_restart(store: ShorthandStore, engine: Engine, clock: Clock) -> None:
    store.insert(new_order(1))
    [order] = store.claim()
    store.write([PAUSE])
    restarted = ShorthandStore(engine.open(clock))
    assert restarted.recover(lambda attempt: Outcome(attempt.sequence, attempt.claim, Status.PENDING)) == 1
    assert restarted.is_paused
    assert restarted.claim() == []
    restarted.write([RESUME])
    assert [each.order_id for each in restarted.claim()] == [order.order_id]
