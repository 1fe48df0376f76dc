"""The signed request that delivers an order. Usable on any thread."""

from collections.abc import Iterable, Sequence

import msgspec

from models.order import Order, amount_as_json, time_as_texts
from models.trace_headers import read_trace_headers
from workers.http.messages import Request
from workers.processors.webhooks.headers import Headers
from workers.processors.webhooks.signer import Signer

_OWN_HEADERS = {"Content-Type": "application/json", "User-Agent": "orders"}
_NO_HEADERS = ("Accept",)
"""Headers that libcurl would add, and that must not be sent."""

_encode = msgspec.json.Encoder().encode


class WebhookBody(msgspec.Struct):
    """The body of a request, which is the same in every attempt."""

    order_id: int
    user_id: int
    item_ids: list[int]
    total_amount: msgspec.Raw
    created_time: str
    created_at: str
    metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def webhook_body(order: Order) -> WebhookBody:
    created_time, created_at = time_as_texts(order.created_us)
    return WebhookBody(
        order.order_id,
        order.user_id,
        order.item_ids,
        msgspec.Raw(amount_as_json(order.total_amount)),
        created_time,
        created_at,
        msgspec.UNSET if order.metadata is None else msgspec.Raw(order.metadata.encode()),
    )


class WebhookRequests:
    """Makes requests with `headers`, and with a signature for each of the secrets."""

    def __init__(self, *, secrets: Sequence[str], headers: Headers) -> None:
        self._fixed_headers = _fixed_headers(headers)
        self.replace_secrets(secrets)

    def replace_secrets(self, secrets: Sequence[str]) -> None:
        """From now on, signs requests with these secrets."""
        self._signers = [Signer(secret) for secret in secrets]

    def request_for(self, order: Order, *, now_s: float) -> Request:
        """The request for this order. `now_s` is in seconds since 1970, UTC."""
        body = _encode(webhook_body(order))
        message_id, second = f"order_{order.order_id}", int(now_s)
        headers = [
            *self._fixed_headers,
            f"webhook-id: {message_id}",
            f"webhook-timestamp: {second}",
            f"webhook-signature: {' '.join([signer.sign(message_id, second, body) for signer in self._signers])}",
        ]
        if order.trace_headers:
            headers += _trace_lines(order.trace_headers)
        return Request(headers, body)


def _fixed_headers(headers: Headers) -> list[str]:
    """The headers that are the same in each delivery."""
    names = {name.lower() for name, _ in headers}
    own = [(name, value) for name, value in _OWN_HEADERS.items() if name.lower() not in names]
    return [f"{name}:" for name in _NO_HEADERS if name.lower() not in names] + _lines([*own, *headers])


def _trace_lines(stored: str) -> list[str]:
    lines = _lines(read_trace_headers(stored).items())
    if not all(line.isascii() and line.isprintable() for line in lines):
        raise ValueError("the stored trace headers are not valid")  # the database is damaged
    return lines


def _lines(headers: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{name}: {value}" if value else f"{name};" for name, value in headers]
