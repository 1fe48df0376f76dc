"""Sample orders, as values and as JSON, and a clock that a test sets."""

import models.clock
from models.database.servers import Server
from models.order import Order, Status
from models.writes.insertion import NewOrder

SECOND_US = 1_000_000


class Clock(models.clock.Clock):
    """The steady time is `now_us`, in microseconds since 1970, until a test changes it.

    `ahead_us` is by how much a test has set the wall clock forward.
    """

    def __init__(self, now_us: int = 1_740_830_400 * SECOND_US) -> None:
        self.now_us = now_us
        self.ahead_us = 0
        super().__init__(wall_us=lambda: self.now_us + self.ahead_us, elapsed_us=lambda: self.now_us)


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
    """The JSON text of an order. `changes` are fields as JSON text; None omits the field."""
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
    """The order as stored by a commit that also claims it for its first attempt."""
    fields = (order.order_id, order.user_id, order.item_ids, order.total_amount, order.metadata)
    return Order(sequence, *fields, Status.PROCESSING, 1, 1, None, now_us, None)


SERVERS = [
    Server(3, "shop-1:77", 1_740_830_400_123_456, 7.25, is_alive=False, processing=2, is_this=False),
    Server(4, "shop-2:8", 1_740_830_401_000_000, 0.1234, is_alive=True, processing=0, is_this=True),
]
"""The lease of the first server has expired."""
