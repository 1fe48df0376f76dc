"""Claims, outcomes, and recovery after a crash, for every kind of store."""

import pytest
from msgspec.structs import replace

from models.order import Attempt, Status
from models.writes.attempts import ClaimedOrders, FinishAndClaim, Outcome
from models.writes.commands import Erase, Retry
from models.writes.insertion import Insertion
from models.writes.write import AnyWrite
from tests.models.engines import Engine
from tests.models.samples import SECOND_US, Clock, new_order
from tests.models.shorthand_store import ShorthandStore


def restarted(engine: Engine, clock: Clock) -> ShorthandStore:
    """The store of a new process, which has recovered the attempts of the previous one."""
    store = ShorthandStore(engine.open(clock))
    store.recover()
    return store


# Claims


def test_orders_are_claimed_in_the_order_of_acceptance_up_to_the_limit(store: ShorthandStore) -> None:
    store.insert(*map(new_order, (30, 10)))
    store.insert(*map(new_order, (20, 40, 5)))
    first = store.claim(2)
    assert [(order.order_id, order.status, order.attempts) for order in first] == [
        (30, Status.PROCESSING, 1),
        (10, Status.PROCESSING, 1),
    ]
    assert first == store.find([30, 10])
    assert [order.order_id for order in store.claim(2)] == [20, 40]
    assert [order.order_id for order in store.claim(2)] == [5]
    assert store.claim(2) == []


def test_outcomes_are_recorded_before_orders_are_claimed(store: ShorthandStore) -> None:
    store.insert(*map(new_order, (1, 2)))
    [first] = store.claim(1)
    claimed = store.finish_and_claim([Outcome(first.sequence, 1, Status.PENDING)], 1).orders
    assert [order.order_id for order in claimed] == [1]
    claimed = store.finish_and_claim([Outcome(first.sequence, 1, Status.COMPLETED)], 5).orders
    assert [order.order_id for order in claimed] == [2]


def test_new_orders_are_claimed_by_the_write_that_stores_them(store: ShorthandStore) -> None:
    results = store.write([new_order(2), FinishAndClaim([], 3), new_order(1), new_order(2)])
    accepted, replayed = Insertion.ACCEPTED, Insertion.REPLAYED
    assert results == [accepted, ClaimedOrders([store.find_one(2), store.find_one(1)]), accepted, replayed]
    assert [order and (order.status, order.attempts, order.claims) for order in store.find([1, 2])] == [
        (Status.PROCESSING, 1, 1)
    ] * 2
    assert (store.totals().processing, store.totals().pending) == (2, 0)


def test_pending_orders_are_claimed_before_the_new_orders_of_a_write(store: ShorthandStore) -> None:
    store.insert(new_order(1), new_order(2))
    [_, claimed] = store.write([new_order(3), FinishAndClaim([], 2)])
    assert isinstance(claimed, ClaimedOrders)
    assert [order.order_id for order in claimed.orders] == [1, 2]
    assert store.find_one(3).status is Status.PENDING


def test_a_write_claims_no_more_new_orders_than_its_limit(store: ShorthandStore) -> None:
    [_, _, claimed] = store.write([new_order(1), new_order(2), FinishAndClaim([], 1)])
    assert isinstance(claimed, ClaimedOrders)
    assert [order.order_id for order in claimed.orders] == [1]
    assert (store.totals().processing, store.totals().pending) == (1, 1)


def test_totals_contain_the_time_of_the_oldest_pending_order(store: ShorthandStore, clock: Clock) -> None:
    assert store.totals().oldest_pending_us is None
    first_us = clock.now_us
    store.insert(new_order(1))
    clock.now_us += SECOND_US
    store.insert(new_order(2))
    assert store.totals().oldest_pending_us == first_us
    [first] = store.claim(1)
    assert store.totals().oldest_pending_us == first_us + SECOND_US
    store.finish_attempt(first, Status.PENDING)
    assert store.totals().oldest_pending_us == first_us
    store.claim(2)
    assert store.totals().oldest_pending_us is None


# Outcomes


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED])
def test_a_finished_order_has_its_processed_time_and_error(store: ShorthandStore, clock: Clock, status: Status) -> None:
    store.insert(new_order(1))
    [order] = store.claim()
    clock.now_us += 1_500_000
    error = "no such card" if status is Status.FAILED else None
    store.finish_attempt(order, status, error)
    done = store.find_one(1)
    assert (done.status, done.attempts, done.error) == (status, 1, error)
    assert done.processed_us == done.created_us + 1_500_000


def test_no_duration_is_negative_if_the_clock_is_set_back(store: ShorthandStore, clock: Clock) -> None:
    store.insert(new_order(1))
    [order] = store.claim()
    clock.now_us -= 60 * SECOND_US
    store.finish_attempt(order, Status.COMPLETED)
    done = store.find_one(1)
    assert done.processed_us == done.created_us
    assert store.totals().processing_us == 0


def test_an_order_returned_to_pending_keeps_its_place_in_the_queue(store: ShorthandStore) -> None:
    store.insert(*map(new_order, (1, 2, 3)))
    first, second = store.claim(2)
    store.finish_attempt(second, Status.PENDING)
    assert [order.order_id for order in store.claim()] == [2, 3]
    store.finish_attempt(first, Status.COMPLETED)


def test_the_attempt_of_an_order_returned_to_pending_does_not_count(store: ShorthandStore) -> None:
    store.insert(new_order(1))
    before = store.find_one(1)
    [order] = store.claim()
    store.finish_attempt(order, Status.PENDING)
    assert store.find_one(1) == replace(before, claims=1)


@pytest.mark.parametrize("error", ['é 😀 "quoted" \\ \n\t\'', "x" * 100_000, ""])
def test_an_error_text_is_stored_unchanged(store: ShorthandStore, error: str) -> None:
    store.insert(new_order(1))
    [order] = store.claim()
    store.finish_attempt(order, Status.FAILED, error)
    assert store.find_one(1).error == error


@pytest.mark.parametrize(("error", "stored"), [("before\0after", "before\ufffdafter"), ("a\udcffb", "a?b")])
def test_invalid_characters_in_an_error_text_are_replaced(store: ShorthandStore, error: str, stored: str) -> None:
    store.insert(new_order(1), new_order(2))
    first, second = store.claim()
    store.finish(Outcome(first.sequence, 1, Status.FAILED, error), Outcome(second.sequence, 1, Status.COMPLETED))
    assert store.find_one(1).error == stored
    assert store.find_one(2).status is Status.COMPLETED


# Fencing: an outcome applies only to the attempt that it belongs to.


@pytest.mark.parametrize("late", [Status.COMPLETED, Status.FAILED, Status.PENDING])
def test_a_late_outcome_of_an_earlier_attempt_changes_nothing(
    store: ShorthandStore, engine: Engine, clock: Clock, late: Status
) -> None:
    store.insert(new_order(1))
    [first] = store.claim()
    store = restarted(engine, clock)
    [second] = store.claim()
    assert [(order.attempts, order.claims) for order in (first, second)] == [(1, 1), (2, 2)]
    before, totals = store.find_one(1), store.totals()
    clock.now_us += SECOND_US
    store.finish_attempt(first, late, "too late")
    assert (store.find_one(1), store.totals()) == (before, totals)
    store.finish_attempt(second, Status.COMPLETED)
    done = store.find_one(1)
    store.finish_attempt(first, late, "too late")
    store.finish_attempt(second, late, "twice")
    assert store.find_one(1) == done


def test_a_late_outcome_for_an_order_returned_to_pending_changes_nothing(store: ShorthandStore) -> None:
    store.insert(new_order(1))
    [first] = store.claim()
    store.finish_attempt(first, Status.PENDING)
    [second] = store.claim()
    assert [(order.attempts, order.claims) for order in (first, second)] == [(1, 1), (1, 2)]
    store.finish_attempt(first, Status.FAILED, "too late")
    assert store.find_one(1) == second


def test_a_late_outcome_does_not_affect_the_current_one_in_the_same_write(
    store: ShorthandStore, engine: Engine, clock: Clock
) -> None:
    store.insert(new_order(1))
    [first] = store.claim()
    store = restarted(engine, clock)
    [second] = store.claim()
    late = Outcome(first.sequence, first.claims, Status.FAILED, "too late")
    store.finish(late, Outcome(second.sequence, second.claims, Status.COMPLETED), late)
    assert (store.find_one(1).status, store.find_one(1).error) == (Status.COMPLETED, None)


def test_an_outcome_of_an_unknown_order_or_attempt_changes_nothing(store: ShorthandStore) -> None:
    store.insert(new_order(1))
    store.finish(Outcome(1, 0, Status.COMPLETED), Outcome(1, 1, Status.FAILED), Outcome(7, 1, Status.COMPLETED))
    assert store.find_one(1).status is Status.PENDING
    assert store.totals().pending == store.totals().orders == 1


@pytest.mark.parametrize("again", [Status.COMPLETED, Status.FAILED, Status.PENDING])
def test_only_the_first_of_two_outcomes_of_an_attempt_counts(store: ShorthandStore, again: Status) -> None:
    store.insert(*map(new_order, (1, 2)))
    first, _ = store.claim()
    store.finish(Outcome(first.sequence, 1, Status.COMPLETED), Outcome(first.sequence, 1, again))
    totals = store.totals()
    assert (totals.orders, totals.processing, totals.completed) == (2, 1, 1)
    assert store.find_one(1).status is Status.COMPLETED


# Recovery


def test_recovery_makes_interrupted_orders_pending_and_counts_them(
    store: ShorthandStore, engine: Engine, clock: Clock
) -> None:
    store.insert(*map(new_order, (1, 2, 3, 4)))
    done, _, _ = store.claim(3)
    store.finish_attempt(done, Status.COMPLETED)
    store = ShorthandStore(engine.open(clock))
    assert store.recover() == 2
    assert [(order.status, order.attempts) for order in store.find([1, 2, 3, 4]) if order] == [
        (Status.COMPLETED, 1),
        (Status.PENDING, 1),
        (Status.PENDING, 1),
        (Status.PENDING, 0),
    ]
    assert [order.attempts for order in store.claim()] == [2, 2, 1]


def test_recovery_ends_each_attempt_with_the_given_outcome(store: ShorthandStore, engine: Engine, clock: Clock) -> None:
    store.insert(*map(new_order, (1, 2)))
    store.claim()
    due_us = clock.now_us + SECOND_US

    def outcome_of(attempt: Attempt) -> Outcome:
        assert attempt == Attempt(attempt.sequence, 1, 1)
        if attempt.sequence == 1:
            return Outcome(1, 1, Status.FAILED, "killed")
        return Outcome(2, 1, Status.PENDING, "killed", due_us)

    store = ShorthandStore(engine.open(clock))
    assert store.recover(outcome_of) == 2
    assert (store.find_one(1).status, store.find_one(1).error) == (Status.FAILED, "killed")
    assert store.finish_and_claim([], 10) == ClaimedOrders([], due_us)
    assert (store.totals().failed, store.totals().pending, store.totals().processing) == (1, 1, 0)


@pytest.mark.parametrize("command", [Retry(1), Erase(1)])
def test_an_outcome_that_is_sent_again_beside_a_command_for_its_order_is_not_rejected(
    store: ShorthandStore, command: AnyWrite
) -> None:
    store.insert(new_order(1))
    [order] = store.claim(1)
    failed = FinishAndClaim([Outcome(order.sequence, 1, Status.FAILED, "no")], 0)
    store.write([failed])
    [ended, _] = store.write([failed, command])
    assert isinstance(ended, ClaimedOrders)
    assert ended.rejected == frozenset()
