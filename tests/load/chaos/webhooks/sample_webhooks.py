"""Creates correct and changed webhooks for the orders of a run. The bodies are those that the real server sends."""

import time
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from standardwebhooks import Webhook

from load.chaos.webhooks.checker import WebhookChecker
from load.orders.comparison import decode_json
from load.orders.generated import VariedOrders
from models.parsing.order_parser import parse_order
from tests.models.samples import claimed_order
from workers.processors.webhooks.request import webhook_body

SECRET = "c2VjcmV0"  # noqa: S105 - only of these tests
ORDERS = VariedOrders(first_id=1, count=1000)
CREATED_US = 1_767_323_045_000_006  # 2026-01-02 03:04:05.000006
_encode = msgspec.json.Encoder(decimal_format="number").encode


def new_checker(*, ahead_s: Collection[int] = (0,)) -> WebhookChecker:
    return WebhookChecker(orders=ORDERS, secret=SECRET, clock_s=time.time, ahead_s=ahead_s)


def webhook(
    order_id: int, changes: dict[str, Any] | None = None, *, webhook_id: str = "", ahead_s: int = 0
) -> tuple[dict[str, str], bytes]:
    """Return the headers and the signed body of an order's webhook. `changes` replaces or adds values.

    The clock of the sender is ahead by `ahead_s` seconds.
    """
    order = claimed_order(parse_order(ORDERS.body(order_id - 1)), sequence=1, now_us=CREATED_US)
    body = _encode(webhook_body(order))
    if changes:
        body = _encode(decode_json(body) | changes)
    webhook_id = webhook_id or f"order_{order_id}"
    now = datetime.now(UTC) + timedelta(seconds=ahead_s)
    headers = {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(webhook_id, now, body.decode()),
    }
    return headers, body
