"""Owns the judgement on each webhook: is it signed, and is it the order that was sent; on the receiver's thread.

The orders are what their ids say, so that no ledger is looked at from here.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime

from standardwebhooks import Webhook, WebhookVerificationError

from load.orders.comparison import decode_json, find_difference
from load.orders.generated import GeneratedOrders

NAMES = {"order_id", "user_id", "item_ids", "total_amount", "created_time"}
"""What a body has; beside them, metadata where the order has some."""
TIME = "%Y-%m-%d %H:%M:%S"


class Deliveries:
    """What came so far; an order must come with the same webhook-id and body each time."""

    def __init__(self, *, orders: GeneratedOrders, secret: str) -> None:
        self._orders = orders
        self._first_id = orders.order_id(0)
        self._signer = Webhook(secret)
        self._names: dict[int, str] = {}
        self._named: dict[str, int] = {}
        self._bodies: dict[int, int] = {}

    def judge(self, headers: Mapping[str, str], body: bytes) -> tuple[int, list[str]]:
        """Give the order's id, and what is wrong with its webhook; ValueError or KeyError where it is none.

        `headers` are by their names in lower case.
        """
        said = decode_json(body)
        order_id = said.get("order_id") if isinstance(said, dict) else None
        if isinstance(order_id, bool) or not isinstance(order_id, int):
            raise ValueError("no order_id")
        return order_id, [
            *self._wrong_names(order_id, headers["webhook-id"]),
            *self._wrong_signature(headers, body),
            *self._wrong_values(order_id, said),
            *self._wrong_repeat(order_id, body),
        ]

    def _wrong_names(self, order_id: int, name: str) -> Iterator[str]:
        if self._names.setdefault(order_id, name) != name:
            yield "the webhook-id is another one for a repeat"
        if self._named.setdefault(name, order_id) != order_id:
            yield "the webhook-id is another order's"

    def _wrong_signature(self, headers: Mapping[str, str], body: bytes) -> Iterator[str]:
        try:
            self._signer.verify(body, dict(headers), json_parse=False)
        except (WebhookVerificationError, ValueError):
            # A ValueError comes of what is no signature at all.
            yield "a webhook whose signature is wrong"

    def _wrong_values(self, order_id: int, said: dict[str, object]) -> Iterator[str]:
        sent = self._orders.order(order_id - self._first_id)
        # A webhook has no status, which the comparison asks for.
        if difference := find_difference(sent, {**said, "status": ""}):
            yield f"a webhook that differs from the order in its {difference.partition(' ')[0]}"
        if said.keys() != NAMES | (sent.keys() & {"metadata"}):
            yield "a webhook with other values than an order's"
        elif not _is_time(said["created_time"]):
            yield "a webhook whose created_time is no time"

    def _wrong_repeat(self, order_id: int, body: bytes) -> Iterator[str]:
        if self._bodies.setdefault(order_id, hash(body)) != hash(body):
            yield "a repeat of a webhook that says something else"


def _is_time(text: object) -> bool:
    try:
        return isinstance(text, str) and datetime.strptime(text, TIME) is not None
    except ValueError:
        return False
