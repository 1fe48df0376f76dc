"""Orders to try things with, as values and as the JSON text of a client, and the clock that dates them."""

from collections.abc import Callable, Sequence
from typing import cast

from models.errors import OrderConflictError, WrongStatusError
from models.order import Attempt, Order, Status
from models.sqlite.store import SqliteStore
from models.writes import (
    Cancel,
    ClaimedOrders,
    FinishAndClaim,
    Insertion,
    NewOrder,
    Outcome,
    RetriedOrders,
    Retry,
    RetryFailedOrders,
    StatusChanged,
    WriteResult,
)

SECOND_US = 1_000_000


class Clock:
    """Microseconds since 1970; stands still until a test moves it."""

    def __init__(self, now_us: int = 1_740_830_400 * SECOND_US) -> None:
        self.now_us = now_us

    def __call__(self) -> int:
        return self.now_us


def new_order(
    order_id: int,
    *,
    user_id: int = 1,
    item_ids: list[int] | None = None,
    total_amount: int = 999_900,
    metadata: str | None = None,
) -> NewOrder:
    return NewOrder(order_id, user_id, [101, 102] if item_ids is None else item_ids, total_amount, metadata)


def order_text(**changes: str | None) -> bytes:
    """The JSON text of an order; `changes` are fields as JSON text, None leaves one out."""
    fields: dict[str, str | None] = {
        "order_id": "12345",
        "user_id": "1",
        "item_ids": "[101, 102, 103]",
        "total_amount": "99.99",
    }
    fields |= changes
    members = (f'"{name}": {value}' for name, value in fields.items() if value is not None)
    return ("{" + ", ".join(members) + "}").encode()


def claimed_order(order: NewOrder, sequence: int, now_us: int) -> Order:
    """The order as it is stored when its first attempt begins as soon as it is accepted."""
    fields = (order.order_id, order.user_id, order.item_ids, order.total_amount, order.metadata)
    return Order(sequence, *fields, Status.PROCESSING, 1, 1, None, now_us, None)


def to_be_made_again(attempt: Attempt) -> Outcome:
    """A crash's attempt counts; the next one may begin at once."""
    return Outcome(attempt.sequence, attempt.claim, Status.PENDING, "cut off", due_us=0)


def _order_of(result: WriteResult) -> Order | WrongStatusError | None:
    return result.order if isinstance(result, StatusChanged) else cast(WrongStatusError | None, result)


class SteppedStore(SqliteStore):
    """The store with its one write as the steps that it joins."""

    def insert(self, orders: Sequence[NewOrder]) -> list[Insertion | OrderConflictError]:
        return cast(list[Insertion | OrderConflictError], self.write(orders))

    def turn(self, outcomes: Sequence[Outcome], limit: int) -> ClaimedOrders:
        return cast(list[ClaimedOrders], self.write([FinishAndClaim(outcomes, limit)]))[0]

    def finish_and_claim(self, outcomes: Sequence[Outcome], limit: int) -> list[Order]:
        return self.turn(outcomes, limit).orders

    def cancel(self, *order_ids: int) -> list[Order | WrongStatusError | None]:
        return [_order_of(result) for result in self.write([Cancel(each) for each in order_ids])]

    def retry(self, *order_ids: int) -> list[Order | WrongStatusError | None]:
        return [_order_of(result) for result in self.write([Retry(each) for each in order_ids])]

    def retry_failed(self, after: int = 0, limit: int = 1_000) -> RetriedOrders:
        return cast(list[RetriedOrders], self.write([RetryFailedOrders(after, limit)]))[0]

    def recover(self, judge: Callable[[Attempt], Outcome] = to_be_made_again) -> int:
        return super().recover(judge)
