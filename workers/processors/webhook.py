"""The processor that posts each order to a webhook receiver. Runs on the worker threads.

Requests are signed as Standard Webhooks specifies (https://www.standardwebhooks.com).
"""

import base64
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import urllib3
from standardwebhooks import Webhook
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InvalidHeader,
    LocationParseError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from models.order import Order, amount_as_decimal, time_as_text
from workers.error_text import one_line
from workers.processors.outcomes import NotDeliveredError, Rejected
from workers.processors.timed_connection import TimedHttpPool, TimedHttpsPool

TIMEOUT_S = 15.0
CONNECT_FRACTION = 1 / 3
"""The part of an attempt's time-out within which each connection attempt must succeed."""
MAX_RETRY_AFTER_S = 86_400
"""The longest delay that a receiver can ask for. A longer Retry-After counts as this one."""
MAX_RESPONSE_BYTES = 64 * 1024
"""How much of a response is read. The connection is closed after a longer one."""
MAX_SHOWN_CHARACTERS = 500
"""How much of a response an order's error contains."""

_RETRIED_4XX = frozenset({408, 409, 425, 429})
_encode = msgspec.json.Encoder(decimal_format="number").encode


class WebhookBody(msgspec.Struct):
    """The body of a request. It is the same in every attempt."""

    order_id: int
    user_id: int
    item_ids: list[int]
    total_amount: Decimal
    created_time: str
    metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class WebhookProcessor:
    """Posts orders to `url`, over up to `connections` kept-alive connections.

    A 2xx response completes the order. A 4xx response rejects it, except 408, 409, 425 and 429. These, any other
    status, network errors and time-outs are retried. Redirects are not followed. `secret` is base64, with or without
    the prefix `whsec_`. `clock` returns seconds since 1970, UTC.

    An attempt takes at most `timeout_s` seconds, plus the time to look up the receiver's name. If the name has more
    than three addresses and none of them responds, it takes a third of `timeout_s` for each.
    """

    batch_size = 1

    def __init__(
        self,
        *,
        url: str,
        secret: str,
        connections: int,
        clock: Callable[[], float] = time.time,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._url = url
        self._signer = Webhook(secret)
        self._clock = clock
        self._timeout_s = timeout_s
        self._pools = urllib3.PoolManager(num_pools=1, maxsize=connections, retries=False)
        self._pools.pool_classes_by_scheme = {"http": TimedHttpPool, "https": TimedHttpsPool}

    def __call__(self, orders: Sequence[Order]) -> None:
        for order in orders:
            self._deliver(order)

    def _deliver(self, order: Order) -> None:
        body = _encode(webhook_body(order))
        try:
            response = self._pools.request(
                "POST",
                self._url,
                body=body,
                headers=self._headers(order, body),
                timeout=urllib3.Timeout(connect=self._timeout_s * CONNECT_FRACTION, total=self._timeout_s),
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except HTTPError as error:
            raise NotDeliveredError(self._reason_of(error)) from error
        _check_response(response, _read(response))

    def _reason_of(self, error: HTTPError) -> str:
        # Not urllib3's own texts, which contain class names and memory addresses.
        origin = error.__cause__ or error.__context__ or error
        cause = _shown(str(origin))
        match error:
            case NewConnectionError():
                return f"the receiver can't be reached: {cause}"
            case ConnectTimeoutError():
                return f"no connection within {self._timeout_s * CONNECT_FRACTION:g} s"
            case ReadTimeoutError():
                return f"no answer within {self._timeout_s:g} s"
            case SSLError():
                return f"no secure connection: {cause}"
        return f"no HTTP answer: {cause or type(origin).__name__}"

    def _headers(self, order: Order, body: bytes) -> dict[str, str]:
        message_id = f"order_{order.order_id}"
        now = datetime.fromtimestamp(self._clock(), UTC)
        return {
            "Content-Type": "application/json",
            "User-Agent": "orders",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(message_id, now, body.decode()),
        }


def check_url(text: str) -> str:
    """The text, if it is the URL of a receiver. Raises ValueError."""
    try:
        url = urllib3.util.parse_url(text)
    except LocationParseError:
        url = urllib3.util.Url()
    if url.scheme not in ("http", "https") or not url.host or url.auth or not text.isprintable() or " " in text:
        raise ValueError("must be an http:// or https:// URL, without a user name or a password")
    return text


def check_secret(text: str) -> str:
    """The text, if it is a secret. Raises ValueError, whose text does not contain the secret."""
    digits = text.removeprefix("whsec_").rstrip("=")
    try:
        # Checked here because standardwebhooks ignores characters that are not base64.
        secret = base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except ValueError:
        secret = b""
    if not secret:
        raise ValueError("must be base64, with or without whsec_ before it")
    return text


def webhook_body(order: Order) -> WebhookBody:
    return WebhookBody(
        order.order_id,
        order.user_id,
        order.item_ids,
        amount_as_decimal(order.total_amount),
        time_as_text(order.created_us),
        msgspec.UNSET if order.metadata is None else msgspec.Raw(order.metadata.encode()),
    )


def _read(response: urllib3.BaseHTTPResponse) -> str:
    """The beginning of the response's body. If that is all of it, the connection stays open for the next attempt."""
    try:
        text = response.read(MAX_RESPONSE_BYTES).decode(errors="replace")
    except HTTPError:
        text = ""  # the status has arrived, and is enough
    if not response.closed:
        response.close()
    return text


def _shown(text: str) -> str:
    """The beginning of a text from the receiver, in one line."""
    return one_line(text[: 2 * MAX_SHOWN_CHARACTERS])[:MAX_SHOWN_CHARACTERS]


def _check_response(response: urllib3.BaseHTTPResponse, text: str) -> None:
    """Returns if the receiver accepted the order, else raises Rejected or NotDeliveredError."""
    status = response.status
    if 200 <= status < 300:
        return
    shown = _shown(text)
    reason = f"the receiver answered {status}{': ' if shown else ''}{shown}"
    if 400 <= status < 500 and status not in _RETRIED_4XX:
        raise Rejected(reason)
    raise NotDeliveredError(reason, retry_after_s=_retry_after_s(response))


def _retry_after_s(response: urllib3.BaseHTTPResponse) -> float:
    """The delay of Retry-After, in seconds or as a date (RFC 9110 §10.2.3); 0 without a valid one."""
    try:
        return urllib3.Retry(retry_after_max=MAX_RETRY_AFTER_S).get_retry_after(response) or 0.0
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0
