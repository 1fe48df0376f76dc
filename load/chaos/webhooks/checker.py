"""Checks the signatures and the contents of webhooks, and remembers earlier webhooks. Usable on one thread."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from standardwebhooks import Webhook

from load.orders.comparison import decode_json, difference_in
from load.orders.generated import GeneratedOrders

FIELDS = {"order_id", "user_id", "item_ids", "total_amount", "created_time", "created_at"}  # And metadata, if given.
TOLERANCE_S = 300.0  # As in the Standard Webhooks specification's libraries.
CREATED_AT = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(kw_only=True)
class WebhookChecker:
    """Checks the signatures of webhooks. Compares each webhook with its order, and with earlier webhooks of the order.

    `clock_s` returns the time in seconds since 1970. The difference between the server's clock and `clock_s` changes
    during the run: `ahead_s` has all differences so far, in seconds.
    """

    orders: GeneratedOrders
    secret: str
    clock_s: Callable[[], float]
    ahead_s: Collection[int]
    _webhook_ids: dict[int, str] = field(default_factory=dict, init=False)
    _order_ids: dict[str, int] = field(default_factory=dict, init=False)
    _body_hashes: dict[int, int] = field(default_factory=dict, init=False)

    def check(self, headers: Mapping[str, str], body: bytes) -> tuple[int, list[str]]:
        """Return the order's id and a text for each problem. Header names must be in lower case.

        Raises ValueError, KeyError or OverflowError if the request is not a webhook.
        """
        values = decode_json(body)
        order_id = values.get("order_id") if isinstance(values, dict) else None
        if isinstance(order_id, bool) or not isinstance(order_id, int):
            raise ValueError("no order_id")
        problems = [*self._compare(order_id, values)]
        webhook_id, sent_s = headers["webhook-id"], int(headers["webhook-timestamp"])
        # Not `verify`: it would reject webhooks whose timestamp differs from this process's clock.
        signature = Webhook(self.secret).sign(webhook_id, datetime.fromtimestamp(sent_s, UTC), body.decode())
        if headers["webhook-signature"] != signature:
            problems.append("a webhook whose signature is wrong")
        if not any(abs(self.clock_s() + ahead_s - sent_s) < TOLERANCE_S for ahead_s in self.ahead_s):
            problems.append("a webhook whose webhook-timestamp is not the time")
        if self._webhook_ids.setdefault(order_id, webhook_id) != webhook_id:
            problems.append("a repeated webhook with another webhook-id")
        if self._order_ids.setdefault(webhook_id, order_id) != order_id:
            problems.append("a webhook with the webhook-id of another order")
        if self._body_hashes.setdefault(order_id, hash(body)) != hash(body):
            problems.append("a repeated webhook with another body")
        return order_id, problems

    def _compare(self, order_id: int, values: dict[str, object]) -> Iterator[str]:
        order = self.orders.order(order_id - self.orders.order_id(0))
        # `difference_in` requires a status, which webhooks don't have.
        if difference := difference_in(order, {**values, "status": ""}):
            yield f"a webhook that differs from the order in its {difference.partition(' ')[0]}"
        if values.keys() != FIELDS | (order.keys() & {"metadata"}):
            yield "a webhook with other fields than an order's"
            return
        try:
            created = datetime.strptime(str(values["created_at"]), CREATED_AT)
        except ValueError:
            yield "a webhook whose created_at is not a time"
            return
        if values["created_time"] != f"{created:%Y-%m-%d %H:%M:%S}":
            yield "a webhook whose created_time differs from its created_at"
