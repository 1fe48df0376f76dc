"""The history of an order's attempts, for every kind of store."""

from models.order import Attempt, AttemptRecord, Ending, Order, Status
from models.writes.attempts import Outcome
from tests.models.engines import Engine
from tests.models.samples import SECOND_US, Clock, new_order
from tests.models.shorthand_store import ShorthandStore


def fail(store: ShorthandStore, clock: Clock, order: Order, error: str) -> AttemptRecord:
    """Advances the clock by a second, and then ends the order's attempt with an error. The retry has no delay."""
    began_us = clock.now_us
    clock.now_us += SECOND_US
    store.finish_attempt(order, Status.PENDING, error, due_us=clock.now_us, ending=Ending.FAILED)
    return AttemptRecord(order.attempts, began_us, clock.now_us, Ending.FAILED, error)


def numbers(store: ShorthandStore, order_id: int) -> list[int]:
    history = store.history(order_id)
    assert history is not None
    return [record.number for record in history]


def test_an_unknown_order_has_no_history(store: ShorthandStore) -> None:
    assert store.history(1) is None


def test_an_order_without_attempts_has_an_empty_history(store: ShorthandStore) -> None:
    store.insert(new_order(1), new_order(2))
    store.cancel(2)
    assert (store.history(1), store.history(2)) == ([], [])


def test_a_running_attempt_has_no_end(store: ShorthandStore, clock: Clock) -> None:
    began_us = clock.now_us
    store.insert(new_order(1))
    clock.now_us += SECOND_US
    store.claim()
    assert store.history(1) == [AttemptRecord(1, began_us + SECOND_US, None, None, None)]


def test_an_order_completed_at_once_has_one_attempt(store: ShorthandStore, clock: Clock) -> None:
    began_us = clock.now_us
    claimed = store.insert_and_claim(new_order(1))
    clock.now_us += SECOND_US
    store.finish_attempt(claimed, Status.COMPLETED)
    assert store.history(1) == [AttemptRecord(1, began_us, began_us + SECOND_US, Ending.COMPLETED, None)]


def test_the_history_has_each_failed_attempt_and_the_last_one(store: ShorthandStore, clock: Clock) -> None:
    store.insert(new_order(1), new_order(2))
    expected: list[AttemptRecord] = []
    for error in ("one", "two"):
        first, other = store.claim()
        expected.append(fail(store, clock, first, error))
        store.finish_attempt(other, Status.PENDING, "other", due_us=clock.now_us, ending=Ending.FAILED)
        assert store.history(1) == expected
    [last, _] = store.claim()
    began_us = clock.now_us
    clock.now_us += SECOND_US
    store.finish_attempt(last, Status.COMPLETED)
    assert store.history(1) == [*expected, AttemptRecord(3, began_us, clock.now_us, Ending.COMPLETED, None)]
    history = store.history(2)
    assert history is not None
    assert [record.error for record in history] == ["other", "other", None]


def test_an_attempt_after_which_the_order_is_failed_is_in_the_history(store: ShorthandStore, clock: Clock) -> None:
    store.insert(new_order(1))
    [order] = store.claim()
    store.finish_attempt(order, Status.FAILED, "no\0", ending=Ending.REJECTED)
    assert store.history(1) == [AttemptRecord(1, clock.now_us, clock.now_us, Ending.REJECTED, "no\ufffd")]


def test_an_attempt_that_does_not_count_is_in_the_history_only_if_it_has_an_ending(
    store: ShorthandStore, clock: Clock
) -> None:
    store.insert(new_order(1))
    for ending in (None, Ending.STOPPED):
        [order] = store.claim()
        store.finish_attempt(order, Status.PENDING, ending=ending)
    store.claim()
    assert store.history(1) == [
        AttemptRecord(1, clock.now_us, clock.now_us, Ending.STOPPED, None),
        AttemptRecord(1, clock.now_us, None, None, None),
    ]


def test_an_attempt_that_a_crash_interrupted_began_when_it_was_claimed(
    store: ShorthandStore, engine: Engine, clock: Clock
) -> None:
    def interrupted(attempt: Attempt) -> Outcome:
        return Outcome(attempt.sequence, attempt.claim, Status.PENDING, "killed", 0, Ending.INTERRUPTED)

    store.insert(new_order(1))
    clock.now_us += SECOND_US
    began_us = clock.now_us
    store.claim()
    clock.now_us += SECOND_US
    store = ShorthandStore(engine.open(clock))
    store.recover(interrupted)
    assert store.history(1) == [AttemptRecord(1, began_us, clock.now_us, Ending.INTERRUPTED, "killed")]


def test_a_late_outcome_is_not_in_the_history(store: ShorthandStore, clock: Clock) -> None:
    store.insert(new_order(1))
    [first] = store.claim()
    expected = fail(store, clock, first, "in time")
    [second] = store.claim()
    for order in (first, first, second, second):
        store.finish_attempt(order, Status.FAILED, f"claim {order.claims}", ending=Ending.FAILED)
    assert store.history(1) == [
        expected,
        AttemptRecord(2, clock.now_us, clock.now_us, Ending.FAILED, "claim 2"),
    ]


def test_no_attempt_ends_before_it_began_if_the_clock_is_set_back(store: ShorthandStore, clock: Clock) -> None:
    store.insert(new_order(1))
    [order] = store.claim()
    began_us = clock.now_us
    clock.now_us -= 60 * SECOND_US
    store.finish_attempt(order, Status.PENDING, "no", due_us=0, ending=Ending.FAILED)
    assert store.history(1) == [AttemptRecord(1, began_us, began_us, Ending.FAILED, "no")]


def test_a_requested_retry_keeps_the_history(store: ShorthandStore) -> None:
    store.insert(new_order(1))
    for _ in range(2):
        [order] = store.claim()
        store.finish_attempt(order, Status.FAILED, "no", ending=Ending.FAILED)
        store.retry(1)
    assert numbers(store, 1) == [1, 1]


def test_only_the_newest_50_attempts_are_kept(store: ShorthandStore, clock: Clock) -> None:
    store.insert(new_order(1), new_order(2))
    for attempt in range(1, 61):
        first, other = store.claim()
        fail(store, clock, first, str(attempt))
        # Half of the other order's attempts are not recorded, so its older attempts are kept.
        ending = Ending.STOPPED if attempt % 2 else None
        store.finish_attempt(other, Status.PENDING, ending=ending)
        assert numbers(store, 1) == list(range(max(1, attempt - 49), attempt + 1))
        assert len(numbers(store, 2)) == (attempt + 1) // 2
    [last, _] = store.claim()
    assert numbers(store, 1) == list(range(12, 62))
    store.finish_attempt(last, Status.COMPLETED)
    assert numbers(store, 1) == list(range(12, 62))
