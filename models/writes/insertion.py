"""The writes that store new orders, and their results. Immutable values; usable on any thread."""

import enum
from collections.abc import Sequence

from models.errors import BacklogFullError, OrderConflictError, StorageError
from models.writes.write import Write


class Insertion(enum.Enum):
    """The result for a new order: ACCEPTED if it was stored now, REPLAYED if it was stored earlier."""

    ACCEPTED = "accepted"
    REPLAYED = "replayed"


InsertResult = Insertion | OrderConflictError | BacklogFullError | StorageError
"""The result for one new order. A StorageError means that this order was not stored. Other orders of the same batch can
have been stored."""


class NewOrder(Write[Insertion], frozen=True, gc=False):
    """Insert this valid order.

    The result is an OrderConflictError if a different order with this id is stored, and a BacklogFullError if the order
    is new and too many orders are Pending.

    `total_amount` is in ten-thousandths; `metadata` is the text of a JSON object, exactly as it was sent.
    `trace_headers` is stored with a new order, and ignored if the order is already stored.
    """

    order_id: int
    user_id: int
    item_ids: list[int]
    total_amount: int
    metadata: str | None = None
    trace_headers: str | None = None


class NewOrders(Write[list[InsertResult]], frozen=True, gc=False):
    """Insert these orders in one transaction. Each order is accepted or rejected independently."""

    orders: Sequence[NewOrder]
