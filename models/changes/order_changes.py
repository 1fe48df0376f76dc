"""The status changes that a batch of writes made, in the order in which they took effect. Pure functions."""

from collections.abc import Iterator, Sequence, Set

from msgspec import Struct

from models.order import Order, Status
from models.writes.attempts import AttemptKey, ClaimedOrders, FinishAndClaim, Outcome
from models.writes.commands import Erase, RetriedOrders, RetryOrders, StatusChanged
from models.writes.insertion import Insertion, NewOrder, NewOrders
from models.writes.write import AnyWrite

TERMINAL_STATUSES = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})
"""These statuses are final, except that a client can retry a Failed order."""

MAX_ERROR_CHARACTERS = 200
"""The maximum length of an error text in an event about a change."""


class OrderChange(Struct, frozen=True, gc=False, array_like=True):
    """The new status of an order. `attempts` and `error` have the same meaning as in `Order`.

    As JSON, it is the array `[order_id, user_id, status, attempts, error]`.
    """

    order_id: int
    user_id: int
    status: Status
    attempts: int = 0
    error: str | None = None


def changes_in(
    batch: Sequence[AnyWrite], results: Sequence[object], *, recorded_before: Set[AttemptKey] = frozenset()
) -> list[OrderChange]:
    """The status changes that `Store.write` made for this batch, computed from the results that it returned.

    Omits the outcomes of the attempts in `recorded_before`, which an earlier transaction has recorded.
    If a commit stored a new order and also claimed it, its only change is to Processing.
    """
    pairs = list(zip(batch, results, strict=True))
    claims = [(w, result) for w, result in pairs if isinstance(w, FinishAndClaim) and isinstance(result, ClaimedOrders)]
    claimed_at_once = {order.order_id for _, claimed in claims for order in claimed.orders if order.claims == 1}
    changes: list[OrderChange] = []
    for finish, claimed in claims:
        unchanged = claimed.rejected | recorded_before
        changes += [
            _ended(order, outcome)
            for order, outcome in zip(finish.attempted, finish.outcomes, strict=False)
            if (outcome.sequence, outcome.claim) not in unchanged
        ]
        changes += [
            OrderChange(order.order_id, order.user_id, Status.COMPLETED, order.attempts)
            for run in finish.completed
            for order in run
        ]
    for write, result in pairs:
        if isinstance(result, StatusChanged):
            # A cancel of a Cancelled order, and a retry of a Pending order, do not change the status.
            if result.previous_status is not result.order.status:
                changes.append(_current(result.order))
        elif isinstance(write, Erase) and isinstance(result, Order):
            # The status is the same, but readers of changes must forget the user and the error.
            changes.append(_current(result))
        elif isinstance(write, RetryOrders) and isinstance(result, RetriedOrders):
            # An order that waits for a retry is already Pending.
            if write.selection.status is Status.FAILED:
                changes += [OrderChange(each.order_id, each.user_id, Status.PENDING) for each in result.orders]
        elif result is Insertion.ACCEPTED or isinstance(result, list):
            changes += [
                OrderChange(order.order_id, order.user_id, Status.PENDING)
                for order in _accepted(write, result)
                if order.order_id not in claimed_at_once
            ]
    for _, claimed in claims:
        changes += map(_current, claimed.orders)
    return changes


def _current(order: Order) -> OrderChange:
    return OrderChange(order.order_id, order.user_id, order.status, order.attempts, order.error)


def _ended(order: Order, outcome: Outcome) -> OrderChange:
    if outcome.status is Status.PENDING and outcome.due_us is None:
        return OrderChange(order.order_id, order.user_id, Status.PENDING, order.attempts - 1, order.error)
    error = outcome.with_storable_error().error
    attempts = order.attempts - (not outcome.counts)
    return OrderChange(order.order_id, order.user_id, outcome.status, attempts, error)


def _accepted(write: AnyWrite, result: object) -> Iterator[NewOrder]:
    if isinstance(write, NewOrder):
        yield write
    elif isinstance(write, NewOrders) and isinstance(result, list):
        for order, each in zip(write.orders, result, strict=True):
            if each is Insertion.ACCEPTED:
                yield order
