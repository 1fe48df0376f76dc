"""The processor that posts each order to a receiver, signed; on the worker threads.

The signature is that of Standard Webhooks (https://www.standardwebhooks.com).
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
from workers.processors.outcomes import NotDeliveredError, Rejected
from workers.processors.timed_connection import TimedHttpPool, TimedHttpsPool
from workers.retries import one_line

TIMEOUT_S = 15.0
CONNECT_PARTS = 3
"""Of its time an attempt may spend one part in so many on connecting."""
LONGEST_RETRY_AFTER_S = 86_400
"""A receiver that asks for a longer pause than this, in seconds, gets this one."""
MAX_ANSWER_BYTES = 64 * 1024
"""What is read of an answer; a connection whose answer is longer is not used again."""
MAX_SHOWN_CHARACTERS = 500
"""What an order's error keeps of an answer."""

_RETRIED_4XX = frozenset({408, 409, 425, 429})
_encode = msgspec.json.Encoder(decimal_format="number").encode


class WebhookBody(msgspec.Struct):
    """What the receiver gets; the same in every attempt."""

    order_id: int
    user_id: int
    item_ids: list[int]
    total_amount: Decimal
    created_time: str
    metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class WebhookProcessor:
    """Posts orders to `url`; up to `connections` connections are kept alive.

    2xx completes the order, 4xx rejects it, but for 408, 409, 425 and 429, which like any other status, network errors
    and time-outs are retried; redirects are not followed. An attempt takes `timeout_s` seconds at most, as long as the
    receiver's name is looked up at once and has no more than `CONNECT_PARTS` addresses: each may take its part.
    `secret` is base64, with or without `whsec_` before it.
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
        body = _encode(_body_of(order))
        try:
            response = self._pools.request(
                "POST",
                self._url,
                body=body,
                headers=self._headers(order, body),
                timeout=urllib3.Timeout(connect=self._timeout_s / CONNECT_PARTS, total=self._timeout_s),
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except HTTPError as error:
            raise NotDeliveredError(self._reason_of(error)) from error
        _judge(response, _read(response))

    def _reason_of(self, error: HTTPError) -> str:
        # urllib3's own texts name its classes and their addresses in memory.
        origin = error.__cause__ or error.__context__ or error
        cause = _shown(str(origin))
        match error:
            case NewConnectionError():
                return f"the receiver can't be reached: {cause}"
            case ConnectTimeoutError():
                return f"no connection within {self._timeout_s / CONNECT_PARTS:g} s"
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
    """The URL of a receiver as it is; ValueError where it is none."""
    try:
        url = urllib3.util.parse_url(text)
    except LocationParseError:
        url = urllib3.util.Url()
    if url.scheme not in ("http", "https") or not url.host or url.auth or not text.isprintable() or " " in text:
        raise ValueError("must be an http:// or https:// URL, without a user name or a password")
    return text


def check_secret(text: str) -> str:
    """The secret as it is; ValueError, which does not show it, where it is none."""
    digits = text.removeprefix("whsec_").rstrip("=")
    try:
        # The library itself ignores what is not base64.
        secret = base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except ValueError:
        secret = b""
    if not secret:
        raise ValueError("must be base64, with or without whsec_ before it")
    return text


def _body_of(order: Order) -> WebhookBody:
    return WebhookBody(
        order.order_id,
        order.user_id,
        order.item_ids,
        amount_as_decimal(order.total_amount),
        time_as_text(order.created_us),
        msgspec.UNSET if order.metadata is None else msgspec.Raw(order.metadata.encode()),
    )


def _read(response: urllib3.BaseHTTPResponse) -> str:
    """The beginning of the answer's body; leaves the connection to the next attempt where that is all of it."""
    try:
        text = response.read(MAX_ANSWER_BYTES).decode(errors="replace")
    except HTTPError:
        text = ""  # the status is there, and decides
    if not response.closed:
        response.close()
    return text


def _shown(text: str) -> str:
    """The beginning of what a receiver sent, which may be anything."""
    return one_line(text[: 2 * MAX_SHOWN_CHARACTERS])[:MAX_SHOWN_CHARACTERS]


def _judge(response: urllib3.BaseHTTPResponse, text: str) -> None:
    """Returns where the receiver took the order, raises what it said otherwise."""
    status = response.status
    if 200 <= status < 300:
        return
    shown = _shown(text)
    reason = f"the receiver answered {status}{': ' if shown else ''}{shown}"
    if 400 <= status < 500 and status not in _RETRIED_4XX:
        raise Rejected(reason)
    raise NotDeliveredError(reason, retry_after_s=_retry_after_s(response))


def _retry_after_s(response: urllib3.BaseHTTPResponse) -> float:
    """What Retry-After asks for, in seconds or as a date (RFC 9110 §10.2.3); 0 where it makes no sense."""
    try:
        return urllib3.Retry(retry_after_max=LONGEST_RETRY_AFTER_S).get_retry_after(response) or 0.0
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0
