"""Webhooks as a server sends them for the orders of a run, right or doctored."""

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
from standardwebhooks import Webhook

from load.chaos.deliveries import Deliveries
from load.orders.generated import VariedOrders

SECRET = "c2VjcmV0"  # noqa: S105
ORDERS = VariedOrders(first_id=1, count=1000)


def new_deliveries() -> Deliveries:
    return Deliveries(orders=ORDERS, secret=SECRET)


def webhook(
    order_id: int, doctored: Mapping[str, object] | None = None, *, name: str = ""
) -> tuple[dict[str, str], bytes]:
    """The headers and the body for an order, signed; with values in place of its own, or beside them."""
    values = ORDERS.order(order_id - 1) | {"created_time": "2026-01-02 03:04:05"} | dict(doctored or {})
    body = msgspec.json.Encoder(decimal_format="number").encode(values)
    name = name or f"order_{order_id}"
    now = datetime.now(UTC)
    headers = {
        "webhook-id": name,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(name, now, body.decode()),
    }
    return headers, body
