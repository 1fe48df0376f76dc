"""An order as it is sent to clients. Pure."""

from decimal import Decimal

import msgspec

from models.order import Order, Status, amount_as_decimal, time_as_text

_MICROSECONDS = 1_000_000


class OrderView(msgspec.Struct, gc=False):
    """An order in a response."""

    order_id: int
    user_id: int
    item_ids: list[int]
    total_amount: Decimal
    status: Status
    created_time: str
    processed_time: str | None
    attempts: int
    error: str | None
    processing_time: float | None
    metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def order_view(order: Order) -> OrderView:
    """The view of a stored order."""
    processed_us = order.processed_us
    return OrderView(
        order.order_id,
        order.user_id,
        order.item_ids,
        amount_as_decimal(order.total_amount),
        order.status,
        time_as_text(order.created_us),
        None if processed_us is None else time_as_text(processed_us),
        order.attempts,
        order.error,
        None if processed_us is None else (processed_us - order.created_us) / _MICROSECONDS,
        msgspec.UNSET if order.metadata is None else msgspec.Raw(order.metadata.encode()),
    )
