"""Due times and durations stay right when the wall clock is set, for every kind of store."""

import pytest

from models.database.health import Work
from models.errors import StorageError
from models.listing import Listing
from models.order import Ending, Order, Status
from models.writes.attempts import FinishAndClaim, Outcome
from tests.models.engines import Engine
from tests.models.samples import SECOND_US, Clock, new_order
from tests.models.shorthand_store import ShorthandStore

HOUR_US, DAY_US = 3_600 * SECOND_US, 86_400 * SECOND_US
STEPS = pytest.mark.parametrize("step_us", [-HOUR_US, HOUR_US, -DAY_US, DAY_US], ids=["-1h", "1h", "-1d", "1d"])


def wait_for_retry(store: ShorthandStore, clock: Clock, delay_us: int = 10 * SECOND_US) -> None:
    """Makes order 1 wait for a retry."""
    store.insert(new_order(1))
    [order] = store.claim()
    store.finish_attempt(order, Status.PENDING, "down", due_us=clock() + delay_us)


def restarted(engine: Engine, clock: Clock, *, back_us: int = 0) -> tuple[ShorthandStore, Clock]:
    """A store of a new process, and its clock. The wall clock was set back by `back_us` before the restart."""
    later = Clock(clock.now_us + clock.ahead_us - back_us)
    store = ShorthandStore(engine.open(later))
    store.recover(longest_delay_us=30 * DAY_US)
    return store, later


def claimed(store: ShorthandStore) -> list[int]:
    return [order.order_id for order in store.claim()]


@STEPS
def test_a_step_neither_delays_nor_hastens_retries(store: ShorthandStore, clock: Clock, step_us: int) -> None:
    wait_for_retry(store, clock)
    clock.ahead_us = step_us
    clock.now_us += 9 * SECOND_US
    assert claimed(store) == []
    clock.now_us += SECOND_US
    assert claimed(store) == [1]


@STEPS
def test_a_step_changes_no_duration_and_no_age(store: ShorthandStore, clock: Clock, step_us: int) -> None:
    store.insert(new_order(1), new_order(2), *map(new_order, range(10, 30)))
    created_us = clock.now_us
    store.claim(1)
    clock.now_us += 3 * SECOND_US
    clock.ahead_us = step_us
    store.insert(new_order(100))
    assert store.totals().oldest_pending_us == created_us
    clock.now_us += SECOND_US
    rest = store.claim()
    assert [order.created_us for order in rest[-1:]] == [created_us + 3 * SECOND_US + step_us]
    clock.now_us += SECOND_US
    store.finish(*(Outcome(order.sequence, 1, Status.COMPLETED) for order in [*rest, store.find_one(1)]))
    assert store.totals().processing_us == (22 * 5 + 2) * SECOND_US
    assert [durations(store.find_one(each)) for each in (1, 2, 29, 100)] == [5 * SECOND_US] * 3 + [2 * SECOND_US]


@STEPS
def test_a_step_before_the_first_order_does_not_change_its_age(
    store: ShorthandStore, clock: Clock, step_us: int
) -> None:
    clock.ahead_us = step_us
    store.write([])
    store.insert(new_order(1))
    assert store.totals().oldest_pending_us == clock.now_us


@STEPS
def test_a_failed_order_has_the_right_duration(store: ShorthandStore, clock: Clock, step_us: int) -> None:
    store.insert(new_order(1))
    [order] = store.claim()
    clock.ahead_us = step_us
    clock.now_us += SECOND_US
    store.finish_attempt(order, Status.FAILED, "no")
    assert durations(store.find_one(1)) == SECOND_US


@STEPS
def test_the_attempts_of_an_order_have_the_right_distances(store: ShorthandStore, clock: Clock, step_us: int) -> None:
    created_us = clock.now_us
    store.insert(new_order(1))
    clock.ahead_us = step_us
    for _ in range(2):
        clock.now_us += SECOND_US
        [order] = store.claim()
        clock.now_us += SECOND_US
        outcome = Outcome(order.sequence, order.claims, Status.PENDING, "down", clock.now_us, Ending.FAILED)
        store.finish(outcome)
    clock.now_us += SECOND_US
    [order] = store.claim()
    store.finish_attempt(order, Status.COMPLETED)
    history = store.history(1)
    assert history is not None
    assert [(each.started_us, each.ended_us) for each in history] == [
        (created_us + first * SECOND_US, created_us + last * SECOND_US) for first, last in ((1, 2), (3, 4), (5, 5))
    ]


@STEPS
def test_a_due_time_is_shown_as_the_wall_clock_will_show_it(store: ShorthandStore, clock: Clock, step_us: int) -> None:
    wait_for_retry(store, clock)
    clock.ahead_us = step_us
    due_us = clock.now_us + 10 * SECOND_US + step_us
    [listed] = store.list_orders(Listing(limit=1)).orders
    assert store.find_one(1).due_us == listed.due_us == due_us


def durations(order: Order) -> int:
    assert order.processed_us is not None
    return order.processed_us - order.created_us


def test_orders_before_between_and_after_two_steps_end_in_one_batch(store: ShorthandStore, clock: Clock) -> None:
    for order_id, ahead_us in ((1, 0), (2, DAY_US), (3, -HOUR_US)):
        clock.ahead_us = ahead_us
        store.insert(new_order(order_id))
        clock.now_us += SECOND_US
    store.write([FinishAndClaim([], 10)])
    store.finish(*(Outcome(sequence, 1, Status.COMPLETED) for sequence in (1, 2, 3)))
    assert store.totals().processing_us == (3 + 2 + 1) * SECOND_US


@STEPS
def test_orders_before_during_and_after_a_step_are_claimed_in_one_batch(
    store: ShorthandStore, clock: Clock, step_us: int
) -> None:
    for order_id, ahead_us in ((1, 0), (2, step_us), (3, 0)):
        clock.ahead_us = ahead_us
        store.insert(new_order(order_id))
        clock.now_us += SECOND_US
    store.claim()
    waits = []
    for order in (store.find_one(order_id) for order_id in (1, 2, 3)):
        [running] = store.history(order.order_id) or []
        assert running.started_us is not None
        waits.append(running.started_us - order.created_us)
    assert waits == [3 * SECOND_US, 2 * SECOND_US, SECOND_US]


@STEPS
@pytest.mark.parametrize("is_followed", [False, True])
def test_due_times_are_right_after_a_step_and_a_restart(
    store: ShorthandStore, engine: Engine, clock: Clock, step_us: int, is_followed: bool
) -> None:
    wait_for_retry(store, clock)
    clock.ahead_us = step_us
    store.probe(Work.WRITES)
    if is_followed:
        store.insert(new_order(2))
    for _ in range(2):  # the second restart must not convert again
        store, clock = restarted(engine, clock)
        assert claimed(store) == ([2] if is_followed else [])
        clock.now_us += 4 * SECOND_US
    assert 1 not in claimed(store)
    clock.now_us += 2 * SECOND_US
    assert 1 in claimed(store)


def test_a_due_time_further_away_than_the_longest_delay_is_brought_forward(
    store: ShorthandStore, engine: Engine, clock: Clock
) -> None:
    wait_for_retry(store, clock, 31 * DAY_US)
    store.insert(new_order(2))
    [order] = store.claim()
    store.finish_attempt(order, Status.PENDING, "later", due_us=clock() + 29 * DAY_US)
    store, clock = restarted(engine, clock)
    assert claimed(store) == [1]


def test_an_order_created_in_the_future_takes_no_negative_time(
    store: ShorthandStore, engine: Engine, clock: Clock
) -> None:
    store.insert(new_order(1))
    store, clock = restarted(engine, clock, back_us=DAY_US)
    store.finish(*(Outcome(order.sequence, 1, Status.COMPLETED) for order in store.claim()))
    assert (store.totals().processing_us, durations(store.find_one(1))) == (0, 0)


def test_a_step_is_logged_once(store: ShorthandStore, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    clock.ahead_us = -HOUR_US
    store.insert(new_order(1))
    store.insert(new_order(2))
    clock.ahead_us = 0
    store.insert(new_order(3))
    assert caplog.messages == [
        "the wall clock was set back by 3600.0 s: retries are still made when due",
        "the wall clock was set forward by 3600.0 s: retries are still made when due",
    ]


def test_a_step_whose_transaction_fails_is_stored_by_the_next_one(
    store: ShorthandStore, engine: Engine, clock: Clock
) -> None:
    wait_for_retry(store, clock)
    clock.ahead_us = HOUR_US
    with engine.refuse_new_orders(), pytest.raises(StorageError, match="refused"):
        store.insert(new_order(2))
    store.claim()
    store, clock = restarted(engine, clock)
    clock.now_us += 9 * SECOND_US
    assert claimed(store) == []
    clock.now_us += SECOND_US
    assert claimed(store) == [1]
