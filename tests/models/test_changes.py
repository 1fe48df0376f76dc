"""What a batch changed, told from its wishes and its results; against a real store."""

from collections.abc import Sequence

import pytest

from models.changes import OrderChange, changes_in
from models.errors import OrderConflictError, WrongStatusError
from models.order import Order, Status
from models.store import Store
from models.writes import (
    AnyWrite,
    Cancel,
    ClaimedOrders,
    FinishAndClaim,
    NewOrders,
    Outcome,
    Retry,
    RetryFailedOrders,
    WriteResult,
)
from tests.models.samples import new_order

PENDING, PROCESSING = Status.PENDING, Status.PROCESSING
COMPLETED, FAILED, CANCELLED = Status.COMPLETED, Status.FAILED, Status.CANCELLED


class Batches:
    """Writes batches, and tells what each of them changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.claimed: dict[int, Order] = {}

    def write(self, *batch: AnyWrite) -> list[OrderChange]:
        results = self._store.write(batch)
        for result in results:
            if isinstance(result, ClaimedOrders):
                self.claimed.update({order.order_id: order for order in result.orders})
        return changes_in(batch, results)

    def end(self, *ends: tuple[int, Status], error: str | None = None, due_us: int | None = None) -> FinishAndClaim:
        """A turn that ends attempts and claims nothing."""
        orders = [self.claimed[order_id] for order_id, _ in ends]
        outcomes = [
            Outcome(order.sequence, order.claims, status, error, due_us)
            for order, (_, status) in zip(orders, ends, strict=True)
        ]
        return FinishAndClaim(outcomes, 0, orders)


@pytest.fixture
def batches(store: Store) -> Batches:
    return Batches(store)


def statuses(changes: Sequence[OrderChange]) -> list[tuple[int, Status]]:
    return [(change.order_id, change.status) for change in changes]


def test_a_new_order_is_pending_and_one_that_is_there_already_changes_nothing(batches: Batches) -> None:
    assert batches.write(new_order(1, user_id=7), new_order(2)) == [
        OrderChange(1, 7, PENDING),
        OrderChange(2, 1, PENDING),
    ]
    assert batches.write(new_order(1, user_id=7), new_order(2, user_id=9), new_order(3)) == [OrderChange(3, 1, PENDING)]


def test_of_orders_that_travel_together_those_that_are_new_are_told(batches: Batches) -> None:
    batches.write(new_order(2))
    together = NewOrders([new_order(1), new_order(2), new_order(2, user_id=9), new_order(3), new_order(3)])
    assert statuses(batches.write(new_order(4), together)) == [(4, PENDING), (1, PENDING), (3, PENDING)]


def test_an_order_that_is_claimed_in_the_commit_that_took_it_in_never_was_pending(batches: Batches) -> None:
    changes = batches.write(FinishAndClaim((), 10), new_order(1, user_id=7))
    assert changes == [OrderChange(1, 7, PROCESSING, attempts=1)]


def test_a_turn_tells_what_has_ended_before_what_comes_in_and_what_begins(batches: Batches) -> None:
    batches.write(new_order(1), new_order(2), FinishAndClaim((), 10))
    last = batches.end((1, COMPLETED), (2, FAILED), error="no")
    changes = batches.write(new_order(3), FinishAndClaim(last.outcomes, 10, last.attempted))
    assert statuses(changes) == [(1, COMPLETED), (2, FAILED), (3, PROCESSING)]
    assert changes[1] == OrderChange(2, 1, FAILED, attempts=1, error="no")


def test_an_attempt_that_is_to_be_made_again_counts_and_keeps_its_error(batches: Batches) -> None:
    batches.write(new_order(1), FinishAndClaim((), 10))
    assert batches.write(batches.end((1, PENDING), error="later", due_us=0)) == [
        OrderChange(1, 1, PENDING, attempts=1, error="later")
    ]
    assert batches.write(FinishAndClaim((), 10)) == [OrderChange(1, 1, PROCESSING, attempts=2, error="later")]


def test_an_attempt_that_is_given_back_is_as_if_it_had_not_been(batches: Batches) -> None:
    batches.write(new_order(1), FinishAndClaim((), 10))
    batches.write(batches.end((1, PENDING), error="later", due_us=0))
    batches.write(FinishAndClaim((), 10))
    assert batches.write(batches.end((1, PENDING))) == [OrderChange(1, 1, PENDING, attempts=1, error="later")]


def test_a_cancelled_order_is_told_once_with_its_last_error(batches: Batches) -> None:
    batches.write(new_order(1), FinishAndClaim((), 10))
    batches.write(batches.end((1, PENDING), error="later", due_us=0))
    assert batches.write(Cancel(1), Cancel(1)) == [OrderChange(1, 1, CANCELLED, attempts=1, error="later")]
    assert batches.write(Cancel(1), Cancel(2), Retry(1)) == []


def test_a_failed_order_that_is_to_be_tried_again_begins_anew(batches: Batches) -> None:
    batches.write(new_order(1), FinishAndClaim((), 10))
    batches.write(batches.end((1, FAILED), error="no"))
    changes = batches.write(FinishAndClaim((), 10), Retry(1), Retry(1))
    assert changes == [OrderChange(1, 1, PENDING), OrderChange(1, 1, PROCESSING, attempts=1)]


def test_all_failed_orders_that_are_to_be_tried_again_are_told(batches: Batches) -> None:
    batches.write(*(new_order(order_id, user_id=order_id + 10) for order_id in (1, 2, 3)), FinishAndClaim((), 10))
    batches.write(batches.end((1, FAILED), (2, COMPLETED), (3, FAILED), error="no"))
    assert batches.write(RetryFailedOrders(0, 10)) == [OrderChange(1, 11, PENDING), OrderChange(3, 13, PENDING)]
    assert batches.write(RetryFailedOrders(0, 10)) == []


def test_what_was_refused_or_failed_changes_nothing() -> None:
    batch: list[AnyWrite] = [
        new_order(1),
        NewOrders([new_order(2)]),
        FinishAndClaim((), 1),
        Cancel(3),
        Cancel(4),
        Retry(5),
    ]
    refused: list[WriteResult] = [
        OrderConflictError(1),
        [OrderConflictError(2)],
        ClaimedOrders([]),
        None,
        WrongStatusError(4, status=FAILED, needed=PENDING),
        None,
    ]
    assert changes_in(batch, refused) == []
    assert changes_in(batch, [OSError("disk")] * len(batch)) == []
