"""Orders to try things with, as values and as the JSON text of a client, and the clock that dates them."""

from collections.abc import Sequence
from typing import cast

from models.errors import OrderConflictError
from models.order import Insertion, NewOrder, Order, Outcome, Turn
from models.store import OrderStore

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


class SteppedStore(OrderStore):
    """The store with its one write as the two steps that it joins."""

    def insert(self, orders: Sequence[NewOrder]) -> list[Insertion | OrderConflictError]:
        return cast(list[Insertion | OrderConflictError], self.write(orders))

    def finish_and_claim(self, outcomes: Sequence[Outcome], limit: int) -> list[Order]:
        return cast(list[list[Order]], self.write([Turn(outcomes, limit)]))[0]
