"""The store's methods, each on a real file; `test_store_against_model.py` has them in any order."""

import sqlite3
from pathlib import Path

import pytest
from msgspec.structs import replace

from models.errors import OrderConflictError, StorageUnavailableError, WrongStatusError
from models.order import Attempt, Order, Status
from models.parsing.order_body import MAX_ID
from models.sqlite import statements
from models.sqlite.database import RetryingSqliteDatabase
from models.writes import (
    Cancel,
    ClaimedOrders,
    FinishAndClaim,
    Insertion,
    NewOrder,
    OrderIds,
    Outcome,
    RetriedOrders,
    Retry,
    StatusChanged,
)
from tests.models.samples import SECOND_US, Clock, SteppedStore, new_order

ACCEPTED, REPLAYED = Insertion.ACCEPTED, Insertion.REPLAYED


def insert(store: SteppedStore, *orders: NewOrder) -> list[Insertion | int]:
    """What became of each; a conflict as the id it names."""
    return [each.order_id if isinstance(each, OrderConflictError) else each for each in store.insert(orders)]


def find(store: SteppedStore, order_id: int) -> Order:
    [order] = store.find([order_id])
    assert order is not None
    return order


def claim(store: SteppedStore, limit: int = 1_000) -> list[Order]:
    return store.finish_and_claim([], limit)


def finish(store: SteppedStore, order: Order, status: Status, error: str | None = None) -> None:
    assert store.finish_and_claim([Outcome(order.sequence, order.claims, status, error)], 0) == []


def test_a_new_order_is_pending_with_everything_it_came_with(store: SteppedStore, clock: Clock) -> None:
    new = new_order(12345, user_id=7, item_ids=[3, 1, 3], total_amount=999_900, metadata='{ "a": "é😀\\u0000" }')
    assert insert(store, new) == [ACCEPTED]
    assert find(store, 12345) == Order(
        sequence=1,
        order_id=12345,
        user_id=7,
        item_ids=[3, 1, 3],
        total_amount=999_900,
        metadata='{ "a": "é😀\\u0000" }',
        status=Status.PENDING,
        attempts=0,
        claims=0,
        error=None,
        created_us=clock.now_us,
        processed_us=None,
    )


def test_the_largest_values_come_back_digit_for_digit(store: SteppedStore) -> None:
    largest = NewOrder(MAX_ID, MAX_ID, [MAX_ID] * 1_000, 99_999_999_999_999, '{"a":"' + "é" * 8_188 + '"}')
    assert insert(store, largest) == [ACCEPTED]
    assert insert(store, largest) == [REPLAYED]
    order = find(store, MAX_ID)
    assert (order.order_id, order.user_id, order.item_ids) == (MAX_ID, MAX_ID, [MAX_ID] * 1_000)
    assert (order.total_amount, order.metadata) == (99_999_999_999_999, largest.metadata)
    assert claim(store) == [replace(order, status=Status.PROCESSING, attempts=1, claims=1)]


def test_the_same_order_again_is_a_replay_and_changes_nothing(store: SteppedStore, clock: Clock) -> None:
    insert(store, new_order(1, metadata='{"a":1,"b":2}'))
    before = find(store, 1)
    clock.now_us += SECOND_US
    assert insert(store, new_order(1, metadata='{"b": 2, "a": 1.0}')) == [REPLAYED]
    assert find(store, 1) == before
    assert store.totals().orders == 1


@pytest.mark.parametrize(
    "other",
    [
        new_order(1, user_id=2),
        new_order(1, item_ids=[102, 101]),
        new_order(1, item_ids=[101, 102, 102]),
        new_order(1, total_amount=999_901),
        new_order(1, metadata="{}"),
    ],
    ids=["user", "order of items", "repeated item", "amount", "metadata"],
)
def test_another_order_under_the_same_id_is_a_conflict_and_changes_nothing(
    store: SteppedStore, other: NewOrder
) -> None:
    insert(store, new_order(1))
    before = find(store, 1)
    assert insert(store, other) == [1]
    assert find(store, 1) == before
    assert store.totals().orders == 1


def test_no_metadata_is_not_the_same_as_an_empty_object(store: SteppedStore) -> None:
    assert insert(store, new_order(1, metadata="{}"), new_order(2)) == [ACCEPTED, ACCEPTED]
    assert insert(store, new_order(1), new_order(2, metadata="{}")) == [1, 2]


@pytest.mark.parametrize("status", [Status.PENDING, Status.PROCESSING, Status.COMPLETED, Status.FAILED])
def test_an_id_is_taken_for_ever_whatever_became_of_its_order(store: SteppedStore, status: Status) -> None:
    insert(store, new_order(1))
    if status is not Status.PENDING:
        [order] = claim(store)
        if status is not Status.PROCESSING:
            finish(store, order, status)
    assert find(store, 1).status is status
    assert insert(store, new_order(1), new_order(1, user_id=2)) == [REPLAYED, 1]
    assert find(store, 1).status is status


def test_the_first_of_one_id_wins_within_a_batch(store: SteppedStore) -> None:
    batch = [new_order(1), new_order(1), new_order(1, user_id=2), new_order(1)]
    assert insert(store, *batch) == [ACCEPTED, REPLAYED, 1, REPLAYED]
    assert find(store, 1).user_id == 1
    assert store.totals().pending == 1


def test_a_batch_may_hold_new_ones_replays_and_conflicts(store: SteppedStore) -> None:
    insert(store, new_order(2), new_order(4))
    batch = [
        new_order(4, user_id=2),
        new_order(1),
        new_order(2),
        new_order(3, user_id=9),
        new_order(3),
        new_order(5),
        new_order(4),
        new_order(5),
    ]
    assert insert(store, *batch) == [4, ACCEPTED, REPLAYED, ACCEPTED, 3, ACCEPTED, REPLAYED, REPLAYED]
    assert [find(store, each).sequence for each in (2, 4, 1, 3, 5)] == [1, 2, 3, 4, 5]
    assert find(store, 3).user_id == 9
    assert store.totals().pending == 5


def test_nothing_is_done_for_nothing(store: SteppedStore) -> None:
    assert store.insert([]) == []
    assert store.find([]) == []
    assert store.finish_and_claim([], 0) == []
    assert store.finish_and_claim([], 10) == []
    assert store.recover() == 0
    assert store.totals().orders == 0


def test_a_batch_of_1000_is_stored_found_claimed_and_finished(store: SteppedStore) -> None:
    order_ids = list(range(1_000, 0, -1))
    assert insert(store, *map(new_order, order_ids)) == [ACCEPTED] * 1_000
    assert [order and order.order_id for order in store.find(order_ids)] == order_ids
    claimed = claim(store)
    assert [order.order_id for order in claimed] == order_ids
    store.finish_and_claim([Outcome(order.sequence, 1, Status.COMPLETED) for order in reversed(claimed)], 0)
    assert store.totals().completed == 1_000


def test_orders_are_found_in_the_order_asked_for_with_none_for_misses(store: SteppedStore) -> None:
    insert(store, *map(new_order, (1, 2, 3)))
    found = store.find([3, 99, 1, 3, MAX_ID, 2])
    assert [order and order.order_id for order in found] == [3, None, 1, 3, None, 2]


def test_orders_are_claimed_in_the_order_of_acceptance_up_to_the_limit(store: SteppedStore) -> None:
    insert(store, *map(new_order, (30, 10)))
    insert(store, *map(new_order, (20, 40, 5)))
    first = claim(store, 2)
    assert [(order.order_id, order.status, order.attempts) for order in first] == [
        (30, Status.PROCESSING, 1),
        (10, Status.PROCESSING, 1),
    ]
    assert first == store.find([30, 10])
    assert [order.order_id for order in claim(store, 2)] == [20, 40]
    assert [order.order_id for order in claim(store, 2)] == [5]
    assert claim(store, 2) == []


def test_an_order_that_is_given_back_keeps_its_place(store: SteppedStore) -> None:
    insert(store, *map(new_order, (1, 2, 3)))
    first, second = claim(store, 2)
    finish(store, second, Status.PENDING)
    assert [order.order_id for order in claim(store)] == [2, 3]
    finish(store, first, Status.COMPLETED)


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED])
def test_a_finished_order_has_its_time_and_its_error(store: SteppedStore, clock: Clock, status: Status) -> None:
    insert(store, new_order(1))
    [order] = claim(store)
    clock.now_us += 1_500_000
    error = "no such card" if status is Status.FAILED else None
    finish(store, order, status, error)
    done = find(store, 1)
    assert (done.status, done.attempts, done.error) == (status, 1, error)
    assert done.processed_us == done.created_us + 1_500_000


def test_an_order_that_is_given_back_has_not_been_tried(store: SteppedStore) -> None:
    insert(store, new_order(1))
    before = find(store, 1)
    [order] = claim(store)
    finish(store, order, Status.PENDING)
    assert find(store, 1) == replace(before, claims=1)


def test_outcomes_are_recorded_before_orders_are_claimed(store: SteppedStore) -> None:
    insert(store, *map(new_order, (1, 2)))
    [first] = claim(store, 1)
    claimed = store.finish_and_claim([Outcome(first.sequence, 1, Status.PENDING)], 1)
    assert [order.order_id for order in claimed] == [1]
    claimed = store.finish_and_claim([Outcome(first.sequence, 1, Status.COMPLETED)], 5)
    assert [order.order_id for order in claimed] == [2]


@pytest.mark.parametrize("late", [Status.COMPLETED, Status.FAILED, Status.PENDING])
def test_a_late_end_of_an_earlier_attempt_changes_nothing(store: SteppedStore, clock: Clock, late: Status) -> None:
    insert(store, new_order(1))
    [first] = claim(store)
    store.recover()
    [second] = claim(store)
    assert [(order.attempts, order.claims) for order in (first, second)] == [(1, 1), (2, 2)]
    before, totals = find(store, 1), store.totals()
    clock.now_us += SECOND_US
    finish(store, first, late, "too late")
    assert (find(store, 1), store.totals()) == (before, totals)
    finish(store, second, Status.COMPLETED)
    done = find(store, 1)
    finish(store, first, late, "too late")
    finish(store, second, late, "twice")
    assert find(store, 1) == done


def test_an_outcome_of_no_order_or_of_no_attempt_changes_nothing(store: SteppedStore) -> None:
    insert(store, new_order(1))
    store.finish_and_claim(
        [Outcome(1, 0, Status.COMPLETED), Outcome(1, 1, Status.FAILED), Outcome(7, 1, Status.COMPLETED)], 0
    )
    assert find(store, 1).status is Status.PENDING
    assert store.totals().pending == store.totals().orders == 1


def test_recovery_makes_interrupted_attempts_pending_and_counts_them(store: SteppedStore) -> None:
    insert(store, *map(new_order, (1, 2, 3, 4)))
    done, _, _ = claim(store, 3)
    finish(store, done, Status.COMPLETED)
    assert store.recover() == 2
    assert [(order.status, order.attempts) for order in store.find([1, 2, 3, 4]) if order] == [
        (Status.COMPLETED, 1),
        (Status.PENDING, 1),
        (Status.PENDING, 1),
        (Status.PENDING, 0),
    ]
    assert [order.attempts for order in claim(store)] == [2, 2, 1]


def test_a_clock_that_goes_back_gives_no_negative_times(store: SteppedStore, clock: Clock) -> None:
    insert(store, new_order(1))
    [order] = claim(store)
    clock.now_us -= 60 * SECOND_US
    finish(store, order, Status.COMPLETED)
    done = find(store, 1)
    assert done.processed_us == done.created_us
    assert store.totals().processing_us == 0


def test_the_oldest_pending_order_is_known_by_its_time(store: SteppedStore, clock: Clock) -> None:
    assert store.totals().oldest_pending_us is None
    first_us = clock.now_us
    insert(store, new_order(1))
    clock.now_us += SECOND_US
    insert(store, new_order(2))
    assert store.totals().oldest_pending_us == first_us
    [first] = claim(store, 1)
    assert store.totals().oldest_pending_us == first_us + SECOND_US
    finish(store, first, Status.PENDING)
    assert store.totals().oldest_pending_us == first_us
    claim(store, 2)
    assert store.totals().oldest_pending_us is None


def test_what_is_stored_is_in_the_file(store: SteppedStore, tmp_path: Path) -> None:
    insert(store, new_order(1, item_ids=[1, 2], metadata='{ "a": 1 }'))
    other = sqlite3.connect(tmp_path / "orders.db")
    assert other.execute("SELECT order_id, item_ids, metadata, status FROM orders").fetchall() == [
        (1, "[1,2]", '{ "a": 1 }', "Pending")
    ]
    other.close()


def fill_up(database: RetryingSqliteDatabase) -> int:
    """Takes away the room to grow; returns what gives it back."""
    limit: int = database.pragma("max_page_count")
    database.pragma("max_page_count", 1)  # SQLite takes as few as the file has.
    return limit


def test_a_full_database_refuses_a_whole_batch_and_works_again_when_there_is_room(
    store: SteppedStore, database: RetryingSqliteDatabase
) -> None:
    insert(store, new_order(1))
    totals = store.totals()
    limit = fill_up(database)
    batch = [new_order(order_id, item_ids=[MAX_ID] * 1_000) for order_id in range(1, 20)]
    for _ in range(2):
        with pytest.raises(StorageUnavailableError, match="full"):
            store.insert(batch)
    assert store.find([2, 19]) == [None, None]
    assert store.totals() == totals
    database.pragma("max_page_count", limit)
    assert insert(store, *batch) == [1] + [ACCEPTED] * 18
    assert store.totals().pending == 19


def test_a_full_database_refuses_outcomes_and_claims_together(
    store: SteppedStore, database: RetryingSqliteDatabase
) -> None:
    insert(store, *map(new_order, (1, 2)))
    [first] = claim(store, 1)
    before, totals = store.find([1, 2]), store.totals()
    limit = fill_up(database)
    failed = Outcome(first.sequence, 1, Status.FAILED, "x" * 100_000)
    with pytest.raises(StorageUnavailableError):
        store.finish_and_claim([failed], 10)
    assert (store.find([1, 2]), store.totals()) == (before, totals)
    database.pragma("max_page_count", limit)
    assert [order.order_id for order in store.finish_and_claim([failed], 10)] == [2]
    assert find(store, 1).error == "x" * 100_000


def test_an_error_half_way_rolls_the_whole_batch_back(store: SteppedStore, database: RetryingSqliteDatabase) -> None:
    insert(store, new_order(1))
    database.execute_sql("CREATE TRIGGER broken BEFORE UPDATE ON totals BEGIN SELECT RAISE(ABORT, 'broken'); END")
    with pytest.raises(StorageUnavailableError, match="broken"):
        store.insert([new_order(2), new_order(3)])
    with pytest.raises(StorageUnavailableError, match="broken"):
        claim(store)
    assert store.find([2, 3]) == [None, None]
    assert find(store, 1).status is Status.PENDING
    database.execute_sql("DROP TRIGGER broken")
    assert insert(store, new_order(2), new_order(3)) == [ACCEPTED, ACCEPTED]
    assert len(claim(store)) == 3


def test_a_probe_of_a_healthy_database_writes_and_changes_nothing(store: SteppedStore, tmp_path: Path) -> None:
    insert(store, new_order(1))
    totals = store.totals()
    log_bytes = (tmp_path / "orders.db-wal").stat().st_size
    store.probe()
    assert store.totals() == totals
    assert (tmp_path / "orders.db-wal").stat().st_size > log_bytes


def test_a_probe_of_a_database_that_can_not_be_written_raises(
    store: SteppedStore, database: RetryingSqliteDatabase
) -> None:
    database.pragma("query_only", 1)
    with pytest.raises(StorageUnavailableError, match="readonly"):
        store.probe()
    database.pragma("query_only", 0)
    store.probe()


@pytest.mark.parametrize("error", ['é 😀 "quoted" \\ \n\t\'', "x" * 100_000, ""])
def test_an_error_is_kept_as_it_was_said(store: SteppedStore, error: str) -> None:
    insert(store, new_order(1))
    [order] = claim(store)
    finish(store, order, Status.FAILED, error)
    assert find(store, 1).error == error


@pytest.mark.parametrize(("error", "kept"), [("before\0after", "before\ufffdafter"), ("a\udcffb", "a?b")])
def test_an_error_that_is_no_plain_text_is_kept_as_far_as_it_is(store: SteppedStore, error: str, kept: str) -> None:
    insert(store, new_order(1), new_order(2))
    first, second = claim(store)
    store.finish_and_claim(
        [Outcome(first.sequence, 1, Status.FAILED, error), Outcome(second.sequence, 1, Status.COMPLETED)], 0
    )
    assert find(store, 1).error == kept
    assert find(store, 2).status is Status.COMPLETED


@pytest.mark.parametrize("again", [Status.COMPLETED, Status.FAILED, Status.PENDING])
def test_of_two_outcomes_of_one_attempt_the_first_counts(store: SteppedStore, again: Status) -> None:
    insert(store, *map(new_order, (1, 2)))
    first, _ = claim(store)
    store.finish_and_claim([Outcome(first.sequence, 1, Status.COMPLETED), Outcome(first.sequence, 1, again)], 0)
    totals = store.totals()
    assert (totals.orders, totals.processing, totals.completed) == (2, 1, 1)
    assert find(store, 1).status is Status.COMPLETED


def test_a_late_end_does_not_hide_the_right_one_that_comes_with_it(store: SteppedStore) -> None:
    insert(store, new_order(1))
    [first] = claim(store)
    store.recover()
    [second] = claim(store)
    late = Outcome(first.sequence, first.claims, Status.FAILED, "too late")
    store.finish_and_claim([late, Outcome(second.sequence, second.claims, Status.COMPLETED), late], 0)
    assert (find(store, 1).status, find(store, 1).error) == (Status.COMPLETED, None)


def test_a_late_end_of_an_attempt_that_was_given_back_changes_nothing(store: SteppedStore) -> None:
    insert(store, new_order(1))
    [first] = claim(store)
    finish(store, first, Status.PENDING)
    [second] = claim(store)
    assert [(order.attempts, order.claims) for order in (first, second)] == [(1, 1), (1, 2)]
    finish(store, first, Status.FAILED, "too late")
    assert find(store, 1) == second


def test_only_a_write_that_reached_the_disk_makes_it_writable_again(
    store: SteppedStore, database: RetryingSqliteDatabase
) -> None:
    insert(store, new_order(1))
    claim(store)
    assert store.is_writable
    database.execute_sql("PRAGMA query_only = ON")
    with pytest.raises(StorageUnavailableError):
        store.insert([new_order(2)])
    assert not store.is_writable
    database.execute_sql("PRAGMA query_only = OFF")
    assert store.insert([new_order(1)]) == [Insertion.REPLAYED]
    assert store.finish_and_claim([], 10) == []
    assert not store.is_writable
    store.probe()
    assert store.is_writable


def test_orders_are_claimed_by_the_write_that_takes_them_in_where_nothing_waits_before_them(
    store: SteppedStore,
) -> None:
    results = store.write([new_order(2), FinishAndClaim([], 3), new_order(1), new_order(2)])
    assert results == [ACCEPTED, ClaimedOrders([find(store, 2), find(store, 1)]), ACCEPTED, Insertion.REPLAYED]
    assert [order and (order.status, order.attempts, order.claims) for order in store.find([1, 2])] == [
        (Status.PROCESSING, 1, 1)
    ] * 2
    assert (store.totals().processing, store.totals().pending) == (2, 0)


def test_orders_that_wait_are_claimed_before_those_of_the_same_write(store: SteppedStore) -> None:
    insert(store, new_order(1), new_order(2))
    [_, claimed] = store.write([new_order(3), FinishAndClaim([], 2)])
    assert isinstance(claimed, ClaimedOrders)
    assert [order.order_id for order in claimed.orders] == [1, 2]
    assert find(store, 3).status is Status.PENDING


def test_a_write_claims_no_more_than_the_turn_can_take(store: SteppedStore) -> None:
    [_, _, claimed] = store.write([new_order(1), new_order(2), FinishAndClaim([], 1)])
    assert isinstance(claimed, ClaimedOrders)
    assert [order.order_id for order in claimed.orders] == [1]
    assert (store.totals().processing, store.totals().pending) == (1, 1)


def finish_as_retry(store: SteppedStore, order: Order, due_us: int, error: str = "down") -> None:
    store.finish_and_claim([Outcome(order.sequence, order.claims, Status.PENDING, error, due_us)], 0)


def test_a_retry_waits_until_it_is_due_and_says_when_that_is(store: SteppedStore, clock: Clock) -> None:
    insert(store, new_order(1))
    [order] = claim(store)
    due_us = clock.now_us + SECOND_US
    finish_as_retry(store, order, due_us)
    waiting = find(store, 1)
    assert (waiting.status, waiting.attempts, waiting.error, waiting.processed_us) == (Status.PENDING, 1, "down", None)
    for now_us in (clock.now_us, due_us - 1):
        clock.now_us = now_us
        assert store.turn([], 10) == ClaimedOrders([], due_us)
    clock.now_us = due_us
    assert store.turn([], 10) == ClaimedOrders([replace(waiting, status=Status.PROCESSING, attempts=2, claims=2)], None)


def test_an_order_keeps_its_last_error_until_it_is_completed(store: SteppedStore, clock: Clock) -> None:
    insert(store, new_order(1))
    for error in ("one", "two"):
        [order] = claim(store)
        finish_as_retry(store, order, clock.now_us, error)
        assert find(store, 1).error == error
    [order] = claim(store)
    assert order.error == "two"
    finish(store, order, Status.PENDING)
    given_back = find(store, 1)
    assert (given_back.error, given_back.attempts) == ("two", 2)
    [order] = claim(store)
    finish(store, order, Status.COMPLETED)
    done = find(store, 1)
    assert (done.error, done.attempts) == (None, 3)


def test_retries_that_are_due_come_before_younger_orders(store: SteppedStore, clock: Clock) -> None:
    insert(store, *map(new_order, (1, 2, 3, 4)))
    first, second, third = claim(store, 3)
    finish_as_retry(store, third, clock.now_us + 1)
    finish_as_retry(store, first, clock.now_us + 2)
    finish_as_retry(store, second, clock.now_us + SECOND_US)
    insert(store, new_order(5))
    clock.now_us += 2
    claims = store.turn([], 10)
    assert [order.order_id for order in claims.orders] == [1, 3, 4, 5]
    assert claims.next_due_us == clock.now_us + SECOND_US - 2


def test_a_retry_that_is_due_is_claimed_before_what_is_just_taken_in(store: SteppedStore, clock: Clock) -> None:
    insert(store, new_order(1))
    [order] = claim(store)
    finish_as_retry(store, order, clock.now_us)
    [_, claims] = store.write([new_order(2), FinishAndClaim([], 1)])
    assert isinstance(claims, ClaimedOrders)
    assert [order.order_id for order in claims.orders] == [1]


def test_retries_are_claimed_in_the_order_of_acceptance_however_many_are_due(
    store: SteppedStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.sqlite.transaction.MAX_MADE_READY", 2)
    insert(store, *map(new_order, range(1, 6)))
    store.finish_and_claim(
        [
            Outcome(order.sequence, 1, Status.PENDING, "down", clock.now_us + 6 - order.sequence)
            for order in claim(store)
        ],
        0,
    )
    clock.now_us += 5
    # Those that are due first are the youngest ones: nothing is claimed before the oldest is ready, too.
    assert [store.turn([], 2) for _ in range(2)] == [
        ClaimedOrders([], clock.now_us - 2),
        ClaimedOrders([], clock.now_us),
    ]
    assert [order.order_id for order in claim(store, 2)] == [1, 2]
    assert [order.order_id for order in claim(store)] == [3, 4, 5]


def test_an_order_that_waits_for_a_retry_may_be_the_oldest(store: SteppedStore, clock: Clock) -> None:
    first_us = clock.now_us
    insert(store, new_order(1))
    [order] = claim(store)
    finish_as_retry(store, order, clock.now_us + 60 * SECOND_US)
    clock.now_us += SECOND_US
    insert(store, new_order(2))
    assert store.totals().oldest_pending_us == first_us
    store.cancel(1)
    assert store.totals().oldest_pending_us == first_us + SECOND_US


def test_recovery_ends_attempts_as_it_is_told(store: SteppedStore, clock: Clock) -> None:
    insert(store, *map(new_order, (1, 2)))
    claim(store)
    due_us = clock.now_us + SECOND_US

    def judge(attempt: Attempt) -> Outcome:
        assert attempt == Attempt(attempt.sequence, 1, 1)
        if attempt.sequence == 1:
            return Outcome(1, 1, Status.FAILED, "killed")
        return Outcome(2, 1, Status.PENDING, "killed", due_us)

    assert store.recover(judge) == 2
    assert (find(store, 1).status, find(store, 1).error) == (Status.FAILED, "killed")
    assert store.turn([], 10) == ClaimedOrders([], due_us)
    assert (store.totals().failed, store.totals().pending, store.totals().processing) == (1, 1, 0)


def test_a_cancel_that_comes_with_a_claim_comes_first(store: SteppedStore) -> None:
    insert(store, *map(new_order, (1, 2)))
    claims, cancelled = store.write([FinishAndClaim([], 10), Cancel(1)])
    assert isinstance(claims, ClaimedOrders)
    assert [order.order_id for order in claims.orders] == [2]
    assert cancelled == StatusChanged(find(store, 1), Status.PENDING)
    assert find(store, 1).status is Status.CANCELLED


def test_a_cancel_that_comes_with_a_finish_comes_later(store: SteppedStore, clock: Clock) -> None:
    insert(store, *map(new_order, (1, 2)))
    first, second = claim(store)
    ends = [
        Outcome(first.sequence, 1, Status.COMPLETED),
        Outcome(second.sequence, 1, Status.PENDING, "down", clock.now_us),
    ]
    results = store.write([Cancel(1), Cancel(2), Cancel(9), Cancel(2), FinishAndClaim(ends, 10)])
    assert isinstance(results[0], WrongStatusError)
    assert str(results[0]) == "order 1 is Completed, not Pending"
    assert results[1] == StatusChanged(find(store, 2), Status.PENDING)
    assert results[3] == StatusChanged(find(store, 2), Status.CANCELLED)
    assert results[2] is None
    assert results[4] == ClaimedOrders([], None)
    totals = store.totals()
    assert (totals.completed, totals.cancelled, totals.pending, totals.processing) == (1, 1, 0, 0)


def test_a_retry_of_a_failed_order_is_claimed_by_the_turn_that_comes_with_it(store: SteppedStore) -> None:
    insert(store, new_order(1))
    [order] = claim(store)
    finish(store, order, Status.FAILED, "no stock")
    [claims, retried, again] = store.write([FinishAndClaim([], 10), Retry(1), Retry(1)])
    assert isinstance(retried, StatusChanged)
    assert retried.was is Status.FAILED
    assert (retried.order.status, retried.order.attempts, retried.order.error) == (Status.PENDING, 0, None)
    assert isinstance(again, WrongStatusError)
    assert claims == ClaimedOrders([find(store, 1)])
    assert (find(store, 1).attempts, find(store, 1).claims) == (1, 2)


def test_the_end_of_an_attempt_from_before_a_retry_changes_nothing(store: SteppedStore) -> None:
    insert(store, new_order(1))
    [first] = claim(store)
    finish(store, first, Status.FAILED, "no stock")
    store.retry(1)
    [second] = claim(store)
    assert (first.attempts, second.attempts) == (1, 1)
    finish(store, first, Status.COMPLETED)
    assert find(store, 1) == second


def test_failed_orders_are_tried_again_a_part_at_a_time(store: SteppedStore) -> None:
    insert(store, *map(new_order, range(1, 8)))
    store.finish_and_claim([Outcome(order.sequence, 1, Status.FAILED, "no") for order in claim(store, 5)], 0)
    assert store.retry_failed(0, 2) == RetriedOrders([OrderIds(1, 1, 1), OrderIds(2, 2, 1)], 2)
    assert store.retry_failed(2, 2) == RetriedOrders([OrderIds(3, 3, 1), OrderIds(4, 4, 1)], 4)
    assert store.retry_failed(4, 2) == RetriedOrders([OrderIds(5, 5, 1)], 5)
    assert store.retry_failed(5, 2) == RetriedOrders([], 5)
    assert [order.order_id for order in claim(store)] == [1, 2, 3, 4, 5, 6, 7]


READY = "SEARCH orders USING INDEX orders_pending (due_us=?)"
NEXT_DUE = "SEARCH orders USING INDEX orders_pending (due_us>?)"
BY_SEQUENCE = "SEARCH orders USING INTEGER PRIMARY KEY (rowid=?)"


@pytest.mark.parametrize(
    ("statement", "plan"),
    [
        ("FIND", ["SEARCH orders USING INDEX orders_order_id (order_id=?)"]),
        ("HAS_READY", [READY, NEXT_DUE]),
        ("NEXT_READY", [READY, NEXT_DUE]),
        ("CLAIM", ["SEARCH orders USING INDEX orders_pending (due_us=? AND sequence<?)"]),
        ("MAKE_READY", [BY_SEQUENCE, "SEARCH orders USING INDEX orders_pending (due_us>? AND due_us<?)"]),
        ("SUM_UP", [BY_SEQUENCE]),
        ("COMPLETE", [BY_SEQUENCE]),
        ("FAIL", [BY_SEQUENCE]),
        ("PUT_BACK", [BY_SEQUENCE]),
        ("INTERRUPTED", ["SCAN orders USING INDEX orders_processing"]),
        ("CANCEL", [BY_SEQUENCE]),
        ("RETRY", [BY_SEQUENCE]),
        ("NEXT_FAILED", ["SEARCH orders USING INDEX orders_failed (sequence>?)"]),
        # In the order of the index, and of the one no more than the first.
        ("TOTALS", [READY, "SCAN orders USING INDEX orders_waiting"]),
    ],
)
def test_no_statement_reads_more_orders_than_it_needs(
    database: RetryingSqliteDatabase, statement: str, plan: list[str]
) -> None:
    text = getattr(statements, statement)
    steps = [row[3] for row in database.execute_sql(f"EXPLAIN QUERY PLAN {text}", [1] * text.count("?"))]
    assert [step.replace("COVERING INDEX", "INDEX") for step in steps if " orders" in step] == plan
