"""What a batch changed: every order's new status, in the order in which the batch's steps took effect.

Pure: belongs to no thread.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from models.order import NewOrder, Order, Status
from models.writes import Claimed, Insertion, Moved, NewOrders, Outcome, Retried, Turn, Write

FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})
"""What an order stays in unless a person wants something else."""


class Change(Struct, frozen=True, gc=False):
    """An order has a new status. `attempts` are those that have begun and count; `error` is the last one's."""

    order_id: int
    user_id: int
    status: Status
    attempts: int = 0
    error: str | None = None


def changes_of(batch: Sequence[Write], results: Sequence[object]) -> list[Change]:
    """The changes that a batch of `OrderStore.write` made, told from its wishes and its results.

    A new order that the same commit began to process never was Pending.
    """
    pairs = list(zip(batch, results, strict=True))
    turns = [(wish, result) for wish, result in pairs if isinstance(wish, Turn) and isinstance(result, Claimed)]
    begun = {order.order_id for _, claimed in turns for order in claimed.orders if order.claims == 1}
    changes: list[Change] = []
    for turn, _ in turns:
        changes += map(_ended, turn.attempted, turn.outcomes)
    for wish, result in pairs:
        if isinstance(result, Moved):
            changes += _moved(result)
        elif isinstance(result, Retried):
            changes += [Change(each.order_id, each.user_id, Status.PENDING) for each in result.orders]
        elif result is Insertion.ACCEPTED or isinstance(result, list):
            changes += [
                Change(order.order_id, order.user_id, Status.PENDING)
                for order in _accepted(wish, result)
                if order.order_id not in begun
            ]
    for _, claimed in turns:
        changes += [_of(order) for order in claimed.orders]
    return changes


def _of(order: Order) -> Change:
    return Change(order.order_id, order.user_id, order.status, order.attempts, order.error)


def _ended(order: Order, outcome: Outcome) -> Change:
    if outcome.status is Status.PENDING and outcome.due_us is None:
        return Change(order.order_id, order.user_id, Status.PENDING, order.attempts - 1, order.error)
    # As it is stored.
    return Change(order.order_id, order.user_id, outcome.status, order.attempts, outcome.as_text().error)


def _moved(moved: Moved) -> Iterator[Change]:
    if moved.was is not moved.order.status:
        # A commit that has an order tried again may begin to process it, too; that comes after.
        yield _of(moved.order)


def _accepted(wish: object, result: object) -> Iterator[NewOrder]:
    if isinstance(wish, NewOrder):
        yield wish
    elif isinstance(wish, NewOrders) and isinstance(result, list):
        for order, each in zip(wish.orders, result, strict=True):
            if each is Insertion.ACCEPTED:
                yield order
