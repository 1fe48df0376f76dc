"""Orders that have expired are deleted, but their ids are never accepted again. Personal data can be erased."""

import pytest
from msgspec import structs

from models.errors import OrderArchivedError, OrderConflictError, WrongStatusError
from models.listing import Listing
from models.order import ERASED_USER, Attempt, Ending, Order, Status
from models.transactions.archiving import archive_orders
from models.writes.archiving import ArchiveMember
from models.writes.attempts import FinishAndClaim, Outcome
from models.writes.commands import Cancel, Retry, RetrySelection
from models.writes.insertion import Insertion, NewOrder, NewOrders
from tests.models.engines import Engine
from tests.models.packed import pack
from tests.models.samples import SECOND_US, Clock, new_order
from tests.models.shorthand_store import ShorthandStore, retry_at_once


def end(store: ShorthandStore, *orders: NewOrder, status: Status = Status.COMPLETED) -> list[Order]:
    """Stores the orders and ends their first attempts."""
    store.insert(*orders)
    claimed = store.claim()
    store.finish(*(Outcome(order.sequence, order.claims, status, ending=Ending.FAILED) for order in claimed))
    return [store.find_one(order.order_id) for order in claimed]


def outcome_of(result: object) -> object:
    """The class of an error, or the result itself."""
    return type(result) if isinstance(result, Exception) else result


def test_an_archived_order_is_never_accepted_again(store: ShorthandStore) -> None:
    first, second, _ = end(store, new_order(1, metadata='{"a": 1}'), new_order(2), new_order(3))
    assert store.archive(first, second)
    results = store.write(
        [
            new_order(1, metadata='{ "a": 1.0 }'),
            new_order(1),
            new_order(4),
            new_order(2, user_id=9),
            new_order(2),
            FinishAndClaim([], 10),
        ]
    )
    assert [outcome_of(result) for result in results[:-1]] == [
        Insertion.REPLAYED,
        OrderConflictError,
        Insertion.ACCEPTED,
        OrderConflictError,
        Insertion.REPLAYED,
    ]
    assert [order.order_id for order in results[-1].orders] == [4]  # type: ignore[union-attr]
    [(one, other, new)] = store.write([NewOrders(pack(new_order(1), new_order(2), new_order(5)))])  # type: ignore[misc]
    assert (outcome_of(one), other, new) == (OrderConflictError, Insertion.REPLAYED, Insertion.ACCEPTED)
    assert [order.order_id for order in store.list_orders(Listing(limit=10)).orders] == [5, 4, 3]


def test_every_use_of_an_archived_order_fails(store: ShorthandStore) -> None:
    first, _ = end(store, new_order(1), new_order(2))
    assert store.archive(first)
    assert [outcome_of(each) for each in store.find([1, 2, 9])] == [OrderArchivedError, store.find_one(2), None]
    results = store.write([Cancel(1), Retry(1), Cancel(9)])
    assert [outcome_of(each) for each in (*results, *store.erase(1, 9))] == [
        OrderArchivedError,
        OrderArchivedError,
        None,
        OrderArchivedError,
        None,
    ]
    with pytest.raises(OrderArchivedError, match="order 1 was archived"):
        store.history(1)


def test_a_replay_of_an_archived_order_is_not_refused_because_of_the_backlog(store: ShorthandStore) -> None:
    first, _ = end(store, new_order(1), new_order(2))
    assert store.archive(first)
    results = store.write([new_order(3), new_order(1), new_order(4)], max_pending=1)
    assert results[:2] == [Insertion.ACCEPTED, Insertion.REPLAYED]
    assert isinstance(results[2], Exception)


def test_an_order_that_is_archived_in_the_same_batch_is_a_replay(store: ShorthandStore) -> None:
    first, _ = end(store, new_order(1), new_order(2))
    assert store.write([new_order(1), archive_orders([first])]) == [Insertion.REPLAYED, True]


def test_archived_orders_are_known_after_a_restart(engine: Engine, clock: Clock, store: ShorthandStore) -> None:
    first, _ = end(store, new_order(1), new_order(2))
    assert store.archive(first)
    again = ShorthandStore(engine.open(clock))
    again.recover()
    assert again.insert(new_order(1), new_order(1, user_id=9)) == [Insertion.REPLAYED, 1]
    assert isinstance(again.find([1])[0], OrderArchivedError)


def test_totals_do_not_change(store: ShorthandStore, clock: Clock) -> None:
    store.insert(new_order(1), new_order(2), new_order(3), new_order(4))
    store.cancel(2)
    claimed = store.claim()
    clock.now_us += SECOND_US
    store.finish(*(Outcome(order.sequence, 1, Status.COMPLETED) for order in claimed))
    before = store.totals()
    assert store.archive(store.find_one(1), store.find_one(2))
    assert store.totals() == structs.replace(before, archived=2)
    assert before.processing_us == 3 * SECOND_US


def test_which_orders_expire(store: ShorthandStore, clock: Clock) -> None:
    start_us = clock.now_us
    store.insert(*map(new_order, range(1, 7)))
    store.cancel(2)
    claimed = store.claim(3)
    clock.now_us += 10 * SECOND_US
    store.finish(
        Outcome(claimed[0].sequence, 1, Status.COMPLETED),
        Outcome(claimed[1].sequence, 1, Status.FAILED, "no"),
    )
    clock.now_us += 10 * SECOND_US
    store.finish(Outcome(claimed[2].sequence, 1, Status.COMPLETED))
    store.cancel(6)  # the newest order never expires

    def expired(before_us: int) -> list[int]:
        return [order.order_id for order in store.find_expired(ended_before_us=before_us).orders]

    # The time of a cancel is not known, so the creation time counts.
    assert expired(start_us) == []
    assert expired(start_us + 1) == [2]
    assert expired(start_us + 10 * SECOND_US) == [2]
    assert expired(start_us + 10 * SECOND_US + 1) == [1, 2]
    assert expired(start_us + 20 * SECOND_US + 1) == [1, 2, 4]


def test_expired_orders_are_found_in_parts(store: ShorthandStore, clock: Clock) -> None:
    end(store, *map(new_order, range(1, 8)))
    clock.now_us += SECOND_US
    found, after = [], 0
    while True:
        part = store.find_expired(ended_before_us=clock.now_us, after=after, limit=2)
        found.append([order.order_id for order in part.orders])
        assert part.orders == store.find([order.order_id for order in part.orders])
        if part.last is None:
            break
        after = part.last
    assert [each for each in found if each] == [[1, 2], [3, 4], [5, 6]]


def test_nothing_is_archived_if_an_order_has_changed(store: ShorthandStore) -> None:
    first, second, _ = end(store, new_order(1), new_order(2), new_order(3))
    store.erase(2)
    assert store.archive(first, second) is False
    assert store.find_one(1) == first
    assert store.archive(first, store.find_one(2))
    assert store.archive(first) is False
    assert store.insert(new_order(2), new_order(2, user_id=5)) == [Insertion.REPLAYED, 2]


def test_the_last_member_of_each_archive_is_stored_with_the_delete(store: ShorthandStore) -> None:
    first, second, third, _ = end(store, *map(new_order, range(1, 5)))
    assert store.last_member(7) is None
    assert store.write([archive_orders([first], ArchiveMember(7, 70))]) == [True]
    assert store.write([archive_orders([second], ArchiveMember(7, 71))]) == [True]
    assert store.write([archive_orders([third], ArchiveMember(2**63 - 1, 2**63 - 1))]) == [True]
    assert store.write([archive_orders([third], ArchiveMember(7, 72))]) == [False]
    assert (store.last_member(7), store.last_member(2**63 - 1)) == (71, 2**63 - 1)


def test_a_late_outcome_of_an_archived_order_changes_nothing(store: ShorthandStore) -> None:
    first, _ = end(store, new_order(1), new_order(2))
    assert store.archive(first)
    before = store.totals()
    store.finish(Outcome(first.sequence, first.claims, Status.FAILED, "late"))
    store.finish(retry_at_once(Attempt(first.sequence, first.claims, 1)))
    assert store.totals() == before
    assert store.claim() == []


def test_sequences_are_never_used_again(store: ShorthandStore, clock: Clock) -> None:
    last = end(store, *map(new_order, range(1, 4)))[-1]
    clock.now_us += SECOND_US
    expired = store.find_expired(ended_before_us=clock.now_us).orders
    assert [order.order_id for order in expired] == [1, 2]
    assert store.archive(*expired)
    store.insert(new_order(4))
    assert store.find_one(4).sequence > last.sequence


def test_erased_orders(store: ShorthandStore) -> None:
    store.insert(structs.replace(new_order(1, user_id=77, metadata='{"a": "b"}'), trace_headers="t"))
    [claimed] = store.claim()
    store.finish_attempt(claimed, Status.FAILED, "no such user 77", ending=Ending.FAILED)
    before = store.find_one(1)
    [erased] = store.erase(1)
    assert erased == structs.replace(before, user_id=ERASED_USER, metadata=None, error=None, trace_headers=None)
    assert store.find_one(1) == erased
    history = store.history(1)
    assert history is not None
    assert [(record.number, record.ending, record.error) for record in history] == [(1, Ending.FAILED, None)]
    assert store.list_orders(Listing(limit=5, user_id=77)).orders == []
    # Again, and the same order again.
    assert store.erase(1) == [erased]
    same, other = new_order(1, user_id=77, metadata='{"a":"b"}'), new_order(1, user_id=77)
    assert store.insert(same, other) == [Insertion.REPLAYED, 1]


def test_orders_that_can_be_processed_are_not_erased(store: ShorthandStore) -> None:
    store.insert(new_order(1), new_order(2))
    store.claim(1)
    before = store.find([1, 2])
    assert [(type(each), each.status) for each in store.erase(1, 2)] == [
        (WrongStatusError, Status.PROCESSING),
        (WrongStatusError, Status.PENDING),
    ]
    assert store.find([1, 2]) == before


def test_an_erased_order_is_not_retried(store: ShorthandStore) -> None:
    end(store, new_order(1), new_order(2), status=Status.FAILED)
    store.erase(1)
    [refused] = store.retry(1)
    assert isinstance(refused, WrongStatusError)
    assert str(refused) == "order 1 is Failed and erased, not Failed or waiting for a retry"
    retried = store.retry_selected(RetrySelection(status=Status.FAILED))
    assert [each.order_id for each in retried.orders] == [2]
    assert store.find_one(1).status is Status.FAILED
