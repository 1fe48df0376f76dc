"""The fields of log lines about an order. Usable on any thread."""

from typing import Any

from models.order import Order
from models.trace_headers import REQUEST_ID_HEADER, read_trace_headers


def attempt_fields(order: Order) -> dict[str, Any]:
    """The argument `extra` of a logging call about the latest attempt at this order.

    `request_id` is left out if the request that sent the order had no X-Request-Id.
    """
    fields: dict[str, Any] = {"order_id": order.order_id, "user_id": order.user_id, "attempt": order.attempts}
    if order.trace_headers and (request_id := read_trace_headers(order.trace_headers).get(REQUEST_ID_HEADER)):
        fields["request_id"] = request_id
    return {"fields": fields}
