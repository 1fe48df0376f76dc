"""The status changes of a batch, computed from its writes and their results. Uses a real store."""

from collections.abc import Sequence

import pytest

from models.changes.order_changes import OrderChange, changes_in
from models.errors import OrderConflictError, WrongStatusError
from models.order import Order, Status
from models.store import Store
from models.writes.attempts import ClaimedOrders, FinishAndClaim, Outcome
from models.writes.claimed_run import ClaimedRun
from models.writes.commands import Cancel, Retry, RetryOrders, RetrySelection
from models.writes.insertion import NewOrders
from models.writes.result import WriteResult
from models.writes.write import AnyWrite
from tests.models.packed import pack
from tests.models.samples import new_order

PENDING, PROCESSING = Status.PENDING, Status.PROCESSING
COMPLETED, FAILED, CANCELLED = Status.COMPLETED, Status.FAILED, Status.CANCELLED


class Batches:
    """Writes batches to a store and returns the changes of each."""

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
        """A write that ends attempts and claims nothing."""
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


def test_a_new_order_is_pending_and_a_replay_changes_nothing(batches: Batches) -> None:
    assert batches.write(new_order(1, user_id=7), new_order(2)) == [
        OrderChange(1, 7, PENDING),
        OrderChange(2, 1, PENDING),
    ]
    assert batches.write(new_order(1, user_id=7), new_order(2, user_id=9), new_order(3)) == [OrderChange(3, 1, PENDING)]


def test_the_new_orders_of_a_group_are_pending(batches: Batches) -> None:
    batches.write(new_order(2))
    together = NewOrders([new_order(1), new_order(2), new_order(2, user_id=9), new_order(3), new_order(3)])
    assert statuses(batches.write(new_order(4), together)) == [(4, PENDING), (1, PENDING), (3, PENDING)]


def test_an_order_claimed_in_the_commit_that_stored_it_was_never_pending(batches: Batches) -> None:
    changes = batches.write(FinishAndClaim((), 10), new_order(1, user_id=7))
    assert changes == [OrderChange(1, 7, PROCESSING, attempts=1)]


def test_the_orders_of_a_completed_run_change_like_other_orders(batches: Batches) -> None:
    run = ClaimedRun(pack(new_order(1), new_order(2, user_id=7)), 1, 5)
    changes = changes_in([FinishAndClaim((), 10, completed=[run])], [ClaimedOrders([])])
    assert changes == [OrderChange(1, 1, COMPLETED, attempts=1), OrderChange(2, 7, COMPLETED, attempts=1)]
    assert changes_in([FinishAndClaim((), 10)], [ClaimedOrders(run)]) == [
        OrderChange(1, 1, PROCESSING, attempts=1),
        OrderChange(2, 7, PROCESSING, attempts=1),
    ]
    packed = NewOrders(pack(new_order(1), new_order(1), new_order(2)))
    assert statuses(batches.write(packed, FinishAndClaim((), 10))) == [(1, PROCESSING), (2, PROCESSING)]


def test_ended_orders_come_before_new_and_claimed_ones(batches: Batches) -> None:
    batches.write(new_order(1), new_order(2), FinishAndClaim((), 10))
    last = batches.end((1, COMPLETED), (2, FAILED), error="no")
    changes = batches.write(new_order(3), FinishAndClaim(last.outcomes, 10, last.attempted))
    assert statuses(changes) == [(1, COMPLETED), (2, FAILED), (3, PROCESSING)]
    assert changes[1] == OrderChange(2, 1, FAILED, attempts=1, error="no")


def test_an_order_that_will_be_retried_keeps_attempts_and_error(batches: Batches) -> None:
    batches.write(new_order(1), FinishAndClaim((), 10))
    assert batches.write(batches.end((1, PENDING), error="later", due_us=0)) == [
        OrderChange(1, 1, PENDING, attempts=1, error="later")
    ]
    assert batches.write(FinishAndClaim((), 10)) == [OrderChange(1, 1, PROCESSING, attempts=2, error="later")]


def test_the_attempt_of_an_order_returned_to_pending_does_not_count(batches: Batches) -> None:
    batches.write(new_order(1), FinishAndClaim((), 10))
    batches.write(batches.end((1, PENDING), error="later", due_us=0))
    batches.write(FinishAndClaim((), 10))
    assert batches.write(batches.end((1, PENDING))) == [OrderChange(1, 1, PENDING, attempts=1, error="later")]


def test_a_cancelled_order_changes_once_and_keeps_its_error(batches: Batches) -> None:
    batches.write(new_order(1), FinishAndClaim((), 10))
    batches.write(batches.end((1, PENDING), error="later", due_us=0))
    assert batches.write(Cancel(1), Cancel(1)) == [OrderChange(1, 1, CANCELLED, attempts=1, error="later")]
    assert batches.write(Cancel(1), Cancel(2), Retry(1)) == []


def test_a_retry_by_request_resets_attempts_and_error(batches: Batches) -> None:
    batches.write(new_order(1), FinishAndClaim((), 10))
    batches.write(batches.end((1, FAILED), error="no"))
    changes = batches.write(FinishAndClaim((), 10), Retry(1), Retry(1))
    assert changes == [OrderChange(1, 1, PENDING), OrderChange(1, 1, PROCESSING, attempts=1)]


def test_all_retried_orders_become_pending(batches: Batches) -> None:
    batches.write(*(new_order(order_id, user_id=order_id + 10) for order_id in (1, 2, 3)), FinishAndClaim((), 10))
    batches.write(batches.end((1, FAILED), (2, COMPLETED), (3, FAILED), error="no"))
    retry = RetryOrders(RetrySelection(status=FAILED), 10)
    assert batches.write(retry) == [OrderChange(1, 11, PENDING), OrderChange(3, 13, PENDING)]
    assert batches.write(retry) == []


@pytest.mark.parametrize("retry", [Retry(1), RetryOrders(RetrySelection(status=PENDING), 10)])
def test_a_waiting_order_that_is_retried_now_was_already_pending(batches: Batches, retry: AnyWrite) -> None:
    batches.write(new_order(1), FinishAndClaim((), 10))
    batches.write(batches.end((1, PENDING), error="later", due_us=2**62))
    assert batches.write(retry) == []
    assert batches.write(FinishAndClaim((), 10)) == [OrderChange(1, 1, PROCESSING, attempts=2, error="later")]


def test_rejected_and_failed_writes_change_nothing() -> None:
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


def test_an_attempt_that_does_not_count_changes_the_error_but_not_the_attempts(batches: Batches) -> None:
    batches.write(new_order(1), FinishAndClaim([], 1))
    order = batches.claimed[1]
    outcome = Outcome(order.sequence, order.claims, PENDING, "busy", due_us=5, counts=False)
    assert batches.write(FinishAndClaim([outcome], 0, [order])) == [OrderChange(1, 1, PENDING, 0, "busy")]
