"""Inserting and finding orders, replays and conflicts, for every kind of store."""

import pytest
from msgspec.structs import replace

from models.errors import BacklogFullError, OrderConflictError
from models.order import Order, Status
from models.parsing.order_body import MAX_ID
from models.writes.attempts import ClaimedOrders, FinishAndClaim, Outcome
from models.writes.commands import Cancel
from models.writes.insertion import Insertion, NewOrder, NewOrders
from models.writes.write import AnyWrite
from tests.models.engines import Engine, check_first_sequences
from tests.models.samples import SECOND_US, Clock, new_order
from tests.models.shorthand_store import ShorthandStore

ACCEPTED, REPLAYED = Insertion.ACCEPTED, Insertion.REPLAYED


def test_a_new_order_is_pending_with_all_its_fields(store: ShorthandStore, clock: Clock) -> None:
    new = new_order(12345, user_id=7, item_ids=[3, 1, 3], total_amount=999_900, metadata='{ "a": "é😀\\u0000" }')
    assert store.insert(new) == [ACCEPTED]
    assert store.find_one(12345) == Order(
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


def test_the_largest_values_are_stored_exactly(store: ShorthandStore) -> None:
    largest = NewOrder(MAX_ID, MAX_ID, [MAX_ID] * 1_000, 99_999_999_999_999, '{"a":"' + "é" * 8_188 + '"}')
    assert store.insert(largest) == [ACCEPTED]
    assert store.insert(largest) == [REPLAYED]
    order = store.find_one(MAX_ID)
    assert (order.order_id, order.user_id, order.item_ids) == (MAX_ID, MAX_ID, [MAX_ID] * 1_000)
    assert (order.total_amount, order.metadata) == (99_999_999_999_999, largest.metadata)
    assert store.claim() == [replace(order, status=Status.PROCESSING, attempts=1, claims=1)]


def test_the_same_order_again_is_a_replay_and_changes_nothing(store: ShorthandStore, clock: Clock) -> None:
    store.insert(new_order(1, metadata='{"a":1,"b":2}'))
    before = store.find_one(1)
    clock.now_us += SECOND_US
    assert store.insert(new_order(1, metadata='{"b": 2, "a": 1.0}')) == [REPLAYED]
    assert store.find_one(1) == before
    assert store.totals().orders == 1


@pytest.mark.parametrize("is_claimed", [False, True])
@pytest.mark.parametrize("is_group", [False, True])
def test_trace_headers_are_stored_with_the_orders_that_have_some(
    store: ShorthandStore, is_claimed: bool, is_group: bool
) -> None:
    orders = [new_order(1), replace(new_order(2), trace_headers='{"traceparent":"x"}'), new_order(3)]
    batch: list[AnyWrite] = [NewOrders(orders)] if is_group else [*orders]
    results = store.write([*batch, FinishAndClaim([], 3 if is_claimed else 0)])
    claimed = results[-1].orders if isinstance(results[-1], ClaimedOrders) else []
    assert claimed == ([store.find_one(order_id) for order_id in (1, 2, 3)] if is_claimed else [])
    found = claimed or store.claim(3)
    assert [order.trace_headers for order in found] == [None, '{"traceparent":"x"}', None]


def test_trace_headers_do_not_make_a_different_order(store: ShorthandStore) -> None:
    store.insert(replace(new_order(1), trace_headers='{"traceparent":"x"}'))
    assert store.insert(new_order(1), replace(new_order(1), trace_headers="{}")) == [REPLAYED, REPLAYED]
    assert store.find_one(1).trace_headers == '{"traceparent":"x"}'


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
def test_a_different_order_with_the_same_id_is_a_conflict(store: ShorthandStore, other: NewOrder) -> None:
    store.insert(new_order(1))
    before = store.find_one(1)
    assert store.insert(other) == [1]
    assert store.find_one(1) == before
    assert store.totals().orders == 1


def test_no_metadata_differs_from_an_empty_object(store: ShorthandStore) -> None:
    assert store.insert(new_order(1, metadata="{}"), new_order(2)) == [ACCEPTED, ACCEPTED]
    assert store.insert(new_order(1), new_order(2, metadata="{}")) == [1, 2]


@pytest.mark.parametrize("status", [Status.PENDING, Status.PROCESSING, Status.COMPLETED, Status.FAILED])
def test_an_id_can_not_be_reused_in_any_status_of_its_order(store: ShorthandStore, status: Status) -> None:
    store.insert(new_order(1))
    if status is not Status.PENDING:
        [order] = store.claim()
        if status is not Status.PROCESSING:
            store.finish_attempt(order, status)
    assert store.find_one(1).status is status
    assert store.insert(new_order(1), new_order(1, user_id=2)) == [REPLAYED, 1]
    assert store.find_one(1).status is status


def test_within_a_batch_the_first_order_with_an_id_is_stored(store: ShorthandStore) -> None:
    batch = [new_order(1), new_order(1), new_order(1, user_id=2), new_order(1)]
    assert store.insert(*batch) == [ACCEPTED, REPLAYED, 1, REPLAYED]
    assert store.find_one(1).user_id == 1
    assert store.totals().pending == 1


def test_a_batch_can_contain_new_orders_replays_and_conflicts(store: ShorthandStore, engine: Engine) -> None:
    store.insert(new_order(2), new_order(4))
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
    assert store.insert(*batch) == [4, ACCEPTED, REPLAYED, ACCEPTED, 3, ACCEPTED, REPLAYED, REPLAYED]
    check_first_sequences(engine, [store.find_one(each).sequence for each in (2, 4, 1, 3, 5)])
    assert store.find_one(3).user_id == 9
    assert store.totals().pending == 5


def test_orders_beyond_max_pending_are_refused_unless_they_are_stored(store: ShorthandStore) -> None:
    store.write([new_order(1), new_order(2)], max_pending=2)
    batch: list[AnyWrite] = [
        new_order(3),
        new_order(1),
        new_order(2, user_id=2),
        NewOrders([new_order(3), new_order(2)]),
    ]
    refused, replayed, conflict, group = store.write(batch, max_pending=2)
    assert isinstance(refused, BacklogFullError)
    assert replayed is REPLAYED
    assert isinstance(conflict, OrderConflictError)
    assert isinstance(group, list)
    assert isinstance(group[0], BacklogFullError)
    assert group[1] is REPLAYED
    assert (refused.order_id, group[0].order_id, store.totals().orders) == (3, 3, 2)


def test_the_first_new_orders_of_a_batch_are_stored_up_to_max_pending(store: ShorthandStore, engine: Engine) -> None:
    batch = [new_order(4), new_order(5), new_order(4), new_order(4, user_id=2), new_order(6), new_order(7)]
    results = store.write(batch, max_pending=3)
    assert [type(each) for each in results] == [Insertion] * 3 + [OrderConflictError, Insertion, BacklogFullError]
    check_first_sequences(engine, [store.find_one(each).sequence for each in (4, 5, 6)])
    # Orders that leave the backlog in the same batch make room. A lower limit than before refuses all new orders.
    claimed = store.claim(1)[0]
    done = FinishAndClaim([Outcome(claimed.sequence, 1, Status.COMPLETED)], 10)
    _, accepted, refused, _ = store.write([Cancel(5), new_order(8), new_order(9), done], max_pending=2)
    assert (accepted, type(refused)) == (ACCEPTED, BacklogFullError)
    assert isinstance(store.write([new_order(9)], max_pending=0)[0], BacklogFullError)


def test_empty_batches_do_nothing(store: ShorthandStore) -> None:
    assert store.insert() == []
    assert store.find([]) == []
    store.finish()
    assert store.claim(10) == []
    assert store.recover() == 0
    assert store.totals().orders == 0


def test_a_batch_of_1000_orders_is_stored_found_claimed_and_finished(store: ShorthandStore) -> None:
    order_ids = list(range(1_000, 0, -1))
    assert store.insert(*map(new_order, order_ids)) == [ACCEPTED] * 1_000
    assert [order and order.order_id for order in store.find(order_ids)] == order_ids
    claimed = store.claim()
    assert [order.order_id for order in claimed] == order_ids
    store.finish(*(Outcome(order.sequence, 1, Status.COMPLETED) for order in reversed(claimed)))
    assert store.totals().completed == 1_000


def test_find_returns_orders_in_the_requested_order_and_none_for_unknown_ids(store: ShorthandStore) -> None:
    store.insert(*map(new_order, (1, 2, 3)))
    found = store.find([3, 99, 1, 3, MAX_ID, 2])
    assert [order and order.order_id for order in found] == [3, None, 1, 3, None, 2]
