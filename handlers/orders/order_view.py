"""An order as it is sent to clients. No I/O."""

import msgspec

from handlers.transport.json_encoder import encode
from models.order import Order, Status, amount_as_json, time_as_texts

_MICROSECONDS = 1_000_000


class OrderView(msgspec.Struct, gc=False):
    """An order in a response."""

    order_id: int
    user_id: int
    item_ids: list[int]
    total_amount: msgspec.Raw
    status: Status
    created_time: str
    processed_time: str | None
    attempts: int
    error: str | None
    processing_time: float | None
    created_at: str
    processed_at: str | None
    next_attempt_at: str | None
    metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def order_line(order: Order) -> bytes:
    """The JSON of the order, as `GET /order/{id}` responds with it."""
    return encode(order_view(order))


def order_view(order: Order) -> OrderView:
    """Converts a stored order to an OrderView."""
    created_us, processed_us, due_us = order.created_us, order.processed_us, order.due_us
    created_time, created_at = time_as_texts(created_us)
    processed_time, processed_at = (None, None) if processed_us is None else time_as_texts(processed_us)
    return OrderView(
        order.order_id,
        order.user_id,
        order.item_ids,
        msgspec.Raw(amount_as_json(order.total_amount)),
        order.status,
        created_time,
        processed_time,
        order.attempts,
        order.error,
        None if processed_us is None else (processed_us - created_us) / _MICROSECONDS,
        created_at,
        processed_at,
        None if due_us is None else time_as_texts(due_us)[1],
        msgspec.UNSET if order.metadata is None else msgspec.Raw(order.metadata.encode()),
    )
