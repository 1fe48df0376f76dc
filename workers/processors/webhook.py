"""The processor that posts each order to a webhook receiver. Runs on the worker threads.

Requests are signed as Standard Webhooks specifies (https://www.standardwebhooks.com).
"""

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
    LocationParseError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from models.order import Order, amount_as_decimal, time_as_texts
from models.trace_headers import read_trace_headers
from workers.processors.delivery_gate import DeliveryGate
from workers.processors.delivery_result import DeliveryResult, Response, Verdict, result_of, shown_text
from workers.processors.outcomes import NotDeliveredError, ReceiverBusyError, Rejected
from workers.processors.timed_connection import TimedHttpPool, TimedHttpsPool
from workers.processors.webhook_headers import Headers
from workers.processors.webhook_secrets import SecretSource

TIMEOUT_S = 15.0
CONNECT_FRACTION = 1 / 3
"""Each try to connect to an address of the receiver must succeed within this fraction of the webhook's time-out."""
MAX_RESPONSE_BYTES = 64 * 1024
"""How many bytes of a response body are read. If the body is longer, the connection is closed and not used again."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


class WebhookBody(msgspec.Struct):
    """The body of a request. It is the same in every attempt."""

    order_id: int
    user_id: int
    item_ids: list[int]
    total_amount: Decimal
    created_time: str
    created_at: str
    metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where deliveries go, and what they contain in addition to the order.

    With several secrets, each delivery has one signature for each secret. The receiver must respond within `timeout_s`
    seconds.
    """

    url: str
    secrets: SecretSource
    headers: Headers = ()
    timeout_s: float = TIMEOUT_S


class WebhookProcessor:
    """Posts orders to a receiver, over up to `connections` kept-alive connections.

    `delivery_result.py` decides what a response means for the order. `gate` decides when orders can be sent. Redirects
    are not followed. `clock` returns seconds since 1970, UTC. The constructor raises SecretsRefusedError if the secrets
    are in a file that can't be used.

    The time-out of `settings` does not include the DNS lookup. Trying to connect to one address of the receiver takes
    up to a third of the time-out. If the receiver has more than three addresses and none of them responds, the attempt
    therefore exceeds the time-out.
    """

    batch_size = 1

    def __init__(
        self,
        *,
        settings: WebhookSettings,
        connections: int,
        gate: DeliveryGate,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = settings.url
        self.replace_secrets(settings.secrets.read())
        self._fixed_headers = _fixed_headers(settings.headers)
        self._gate = gate
        self._clock = clock
        self._timeout_s = settings.timeout_s
        self._pools = urllib3.PoolManager(num_pools=1, maxsize=connections, retries=False)
        self._pools.pool_classes_by_scheme = {"http": TimedHttpPool, "https": TimedHttpsPool}

    def replace_secrets(self, secrets: Sequence[str]) -> None:
        """Signs later deliveries with these secrets. Can be called on any thread."""
        self._signers = [Webhook(secret) for secret in secrets]

    def __call__(self, orders: Sequence[Order]) -> None:
        for order in orders:
            self._deliver(order)

    def _deliver(self, order: Order) -> None:
        delivery = self._gate.begin(order.order_id)
        result = DeliveryResult(Verdict.FAILED)
        try:
            result = self._post(order)
        finally:
            pause_s = self._gate.end(delivery, result)
        match result.verdict:
            case Verdict.REJECTED:
                raise Rejected(result.reason)
            case Verdict.BUSY:
                raise ReceiverBusyError(result.reason, retry_after_s=max(pause_s, result.retry_after_s or 0.0))
            case Verdict.FAILED | Verdict.UNREACHABLE:
                raise NotDeliveredError(result.reason, retry_after_s=result.retry_after_s or 0.0)

    def _post(self, order: Order) -> DeliveryResult:
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
            return DeliveryResult(Verdict.UNREACHABLE, self._reason_of(error))
        complete = Response(
            response.status,
            _read(response),
            content_type=response.headers.get("Content-Type", ""),
            content_encoding=response.headers.get("Content-Encoding", ""),
            retry_after=response.headers.get("Retry-After"),
        )
        return result_of(complete, now_s=self._clock())

    def _reason_of(self, error: HTTPError) -> str:
        # Does not use urllib3's texts, which contain class names and memory addresses.
        origin = error.__cause__ or error.__context__ or error
        cause = shown_text(str(origin))
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
        trace_headers = read_trace_headers(order.trace_headers) if order.trace_headers else {}
        return {
            **self._fixed_headers,
            **trace_headers,
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signer.sign(message_id, now, body.decode()) for signer in self._signers),
        }


def check_url(text: str) -> str:
    """Returns the text unchanged. Raises ValueError if it is not a valid value of `--webhook-url`."""
    try:
        url = urllib3.util.parse_url(text)
    except LocationParseError:
        url = urllib3.util.Url()
    if url.scheme not in ("http", "https") or not url.host or url.auth or not text.isprintable() or " " in text:
        raise ValueError("must be an http:// or https:// URL, without a user name or a password")
    return text


def _fixed_headers(headers: Headers) -> dict[str, str]:
    """The headers that are the same in each delivery."""
    own = {"Content-Type": "application/json", "User-Agent": "orders"}
    names = {name.lower() for name, _ in headers}
    return {name: value for name, value in own.items() if name.lower() not in names} | dict(headers)


def webhook_body(order: Order) -> WebhookBody:
    created_time, created_at = time_as_texts(order.created_us)
    return WebhookBody(
        order.order_id,
        order.user_id,
        order.item_ids,
        amount_as_decimal(order.total_amount),
        created_time,
        created_at,
        msgspec.UNSET if order.metadata is None else msgspec.Raw(order.metadata.encode()),
    )


def _read(response: urllib3.BaseHTTPResponse) -> bytes:
    """The first `MAX_RESPONSE_BYTES` of the body. If the body is longer, closes the connection."""
    try:
        body = response.read(MAX_RESPONSE_BYTES)
    except HTTPError:
        body = b""  # the status was read before, and decides without the body
    if not response.closed:
        response.close()
    return body
