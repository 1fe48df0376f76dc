"""The order that a user's function gets. An immutable value; usable on any thread."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct


class Order(Struct, frozen=True, kw_only=True):
    """The argument of a user's function. A test of the function can construct it with keyword arguments."""

    order_id: int
    user_id: int
    item_ids: list[int]
    total_amount: Decimal
    """The exact amount, with at most four decimal places."""
    metadata: dict[str, Any] | None = None
    """The JSON object that the client sent with the order; None if the client sent no metadata."""
    created_time: datetime
    """When the order was accepted, in UTC."""
    attempt: int = 1
    """The number of this attempt, from 1. The number is 1 again after a client has requested a retry of a Failed
    order."""
