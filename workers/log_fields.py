"""The fields of log lines about an attempt at an order. Usable on any thread."""

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from models.order import Order
from models.trace_headers import REQUEST_ID_HEADER, read_trace_headers

ATTEMPTED: ContextVar[Order | None] = ContextVar("ATTEMPTED", default=None)
"""The order at which this thread or task makes an attempt. `AttemptFilter` adds its fields to lines that it logs."""


def attempt_fields(order: Order) -> dict[str, Any]:
    """The argument `extra` of a logging call about the latest attempt at this order.

    `request_id` is left out if the request that sent the order had no X-Request-Id.
    """
    fields: dict[str, Any] = {"order_id": order.order_id, "user_id": order.user_id, "attempt": order.attempts}
    if order.trace_headers and (request_id := read_trace_headers(order.trace_headers).get(REQUEST_ID_HEADER)):
        fields["request_id"] = request_id
    return {"fields": fields}


class AttemptFilter(logging.Filter):
    """Adds the fields of the order to the lines that a user's function logs during an attempt."""

    def filter(self, record: logging.LogRecord) -> bool:
        own_fields = getattr(record, "fields", {})
        if (order := ATTEMPTED.get()) and isinstance(own_fields, Mapping):
            record.fields = {**attempt_fields(order)["fields"], **own_fields}
        return True
