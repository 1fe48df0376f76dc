"""Creates correct and changed webhooks for the orders of a run, as a server sends them."""

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
from standardwebhooks import Webhook

from load.chaos.receiver import WebhookChecker
from load.orders.generated import VariedOrders

SECRET = "c2VjcmV0"  # noqa: S105 - only of these tests
ORDERS = VariedOrders(first_id=1, count=1000)


def new_checker() -> WebhookChecker:
    return WebhookChecker(orders=ORDERS, secret=SECRET)


def webhook(
    order_id: int, changes: Mapping[str, object] | None = None, *, webhook_id: str = ""
) -> tuple[dict[str, str], bytes]:
    """Return the headers and the signed body of an order's webhook. `changes` replaces or adds values."""
    values = ORDERS.order(order_id - 1) | {"created_time": "2026-01-02 03:04:05"} | dict(changes or {})
    body = msgspec.json.Encoder(decimal_format="number").encode(values)
    webhook_id = webhook_id or f"order_{order_id}"
    now = datetime.now(UTC)
    headers = {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(webhook_id, now, body.decode()),
    }
    return headers, body
