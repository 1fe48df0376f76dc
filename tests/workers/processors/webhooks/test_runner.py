"""The webhook processor, with a receiver on real sockets that follows a script."""

import asyncio
import email.utils
import gzip
import itertools
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

import pytest
from msgspec.structs import replace
from standardwebhooks import Webhook

from models.order import Order, Status
from tests.cases import cases
from tests.process import DEADLINE_S, free_port, wait_until
from tests.workers.scripted_receiver import (
    SHORT_S,
    Flood,
    Receiver,
    Script,
    Wire,
    answer,
    drip,
    hold,
    in_turn,
    reply,
    send,
    send_and_hang_up,
)
from workers.backoff import Backoff
from workers.http.transfer import MAX_BODY_BYTES
from workers.processors.outcomes import NoResultError, NotDeliveredError, NotSentError, ReceiverBusyError, Rejected
from workers.processors.webhooks.delivery_gate import MAX_UNREACHABLE, DeliveryGate
from workers.processors.webhooks.delivery_result import MAX_SHOWN_CHARACTERS
from workers.processors.webhooks.headers import Headers
from workers.processors.webhooks.runner import WebhookRunner
from workers.processors.webhooks.secrets import SecretSource
from workers.processors.webhooks.settings import WebhookSettings, check_url

T = TypeVar("T")

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"  # noqa: S105 - used only in these tests
LONG_S = 5.0
"""The longest time until a time-out of `SHORT_S` is detected, on a busy machine."""
CREATED_US = 1_740_830_400_250_000


def order(
    order_id: int = 7, *, total_amount: int = 999_900, metadata: str | None = None, attempts: int = 1, created: int = 0
) -> Order:
    return Order(
        order_id,
        order_id,
        3,
        [102, 101, 102],
        total_amount,
        metadata,
        Status.PROCESSING,
        attempts,
        attempts,
        None,
        created or CREATED_US,
        None,
    )


class LoopThread:
    """An event loop on a thread of its own, on which the methods of runners are called."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, call: Callable[..., T], *arguments: Any) -> T:
        async def run() -> T:
            return call(*arguments)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(DEADLINE_S)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()


class Sender:
    """A `WebhookRunner`, and the results that it reports. Implements `AttemptReports`."""

    def __init__(self, runner: WebhookRunner, loop: LoopThread) -> None:
        self.runner = runner
        self._loop = loop
        self._results: SimpleQueue[tuple[Order, BaseException | None, float]] = SimpleQueue()
        loop.run(runner.open, self)

    def start(self, orders: Sequence[Order]) -> None:
        self._loop.run(self.runner.start, orders)

    def withdraw(self) -> Sequence[Order]:
        return self._loop.run(self.runner.withdraw)

    def close(self) -> None:
        self._loop.run(self.runner.close)

    def completed(self, orders: Sequence[Order], duration_s: float) -> None:
        for each in orders:
            self._results.put((each, None, duration_s))

    def failed(self, order: Order, error: BaseException, duration_s: float) -> None:
        self._results.put((order, error, duration_s))

    def next_result(self) -> tuple[Order, BaseException | None, float]:
        return self._results.get(timeout=DEADLINE_S)

    def __call__(self, orders: Sequence[Order]) -> None:
        """Delivers the orders one after another. Raises the error of the first one that is not accepted."""
        for each in orders:
            self.start([each])
            delivered, error, _ = self.next_result()
            assert delivered is each
            if error:
                raise error


class Senders:
    """The senders of a test, and their event loop."""

    def __init__(self) -> None:
        self.loop = LoopThread()
        self.all: list[Sender] = []

    def close(self) -> None:
        for each in self.all:
            each.close()
        self.loop.close()


@pytest.fixture(autouse=True)
def _senders() -> Iterator[None]:
    with closing(Senders()) as senders:
        _current.append(senders)
        yield
        _current.remove(senders)


_current: list[Senders] = []


def processor(
    url: str,
    *,
    secrets: tuple[str, ...] = (SECRET,),
    headers: Headers = (),
    connections: int = 1,
    gate: DeliveryGate | None = None,
    clock: Callable[[], float] = time.time,
    timeout_s: float = DEADLINE_S,
    attempt_timeout_s: float | None = None,
) -> Sender:
    settings = WebhookSettings(
        url=url, secrets=SecretSource(secrets), headers=headers, timeout_s=timeout_s, connections=connections
    )
    runner = WebhookRunner(
        settings=settings,
        gate=gate or new_gate(connections),
        attempt_timeout_s=attempt_timeout_s,
        clock=clock,
    )
    senders = _current[-1]
    senders.all.append(Sender(runner, senders.loop))
    return senders.all[-1]


def new_gate(connections: int, clock: Callable[[], float] | None = None) -> DeliveryGate:
    """Without `clock`, two days pass at each call of the clock, so that every pause has ended at the next delivery."""
    times_s = itertools.count(0.0, 2 * 86_400.0)
    return DeliveryGate(
        max_open=connections,
        backoff=Backoff(first_s=1.0, max_s=60.0, jitter=lambda: 1.0),
        clock=clock or (lambda: next(times_s)),
        clock_us=lambda: CREATED_US,
    )


@pytest.fixture
def receiver(receiver: Receiver) -> Iterator[Receiver]:
    """Every delivery must have a valid signature."""
    yield receiver
    verify_signatures(receiver)


@pytest.fixture
def tls_receiver(tls_receiver: Receiver) -> Iterator[Receiver]:
    """Every delivery must have a valid signature."""
    yield tls_receiver
    verify_signatures(tls_receiver)


def verify_signatures(receiver: Receiver) -> None:
    for delivery in receiver.deliveries:
        Webhook(SECRET).verify(delivery.body, dict(delivery.headers))


class Failure(NamedTuple):
    error: Rejected | NotDeliveredError
    seconds: float

    @property
    def text(self) -> str:
        return str(self.error)

    @property
    def retry_after_s(self) -> float:
        assert isinstance(self.error, NotDeliveredError)
        return self.error.retry_after_s


def failed_delivery(deliver: Sender, *orders: Order) -> Failure:
    """The error and the duration of a delivery that must fail."""
    began_s = time.monotonic()
    with pytest.raises((Rejected, NotDeliveredError)) as caught:
        deliver(orders or [order()])
    assert isinstance(caught.value, Rejected | NotDeliveredError)
    return Failure(caught.value, time.monotonic() - began_s)


# Requests


def test_an_order_is_posted_as_json_to_the_unchanged_url(receiver: Receiver) -> None:
    processor(f"http://127.0.0.1:{receiver.port}/hooks/a%20b?shop=1&x=%2F#part")([order()])
    [delivery] = receiver.deliveries
    assert (delivery.method, delivery.target) == ("POST", "/hooks/a%20b?shop=1&x=%2F")
    assert delivery.headers["content-type"] == "application/json"
    assert delivery.headers["user-agent"] == "orders"
    assert delivery.headers["host"] == f"127.0.0.1:{receiver.port}"


def test_a_url_without_a_path_requests_the_root(receiver: Receiver) -> None:
    processor(f"http://127.0.0.1:{receiver.port}")([order()])
    assert receiver.deliveries[0].target == "/"


def test_the_body_contains_the_fields_of_the_order_in_a_fixed_order(receiver: Receiver) -> None:
    processor(receiver.url)([order()])
    assert receiver.bodies == [
        b'{"order_id":7,"user_id":3,"item_ids":[102,101,102],"total_amount":99.99,'
        b'"created_time":"2025-03-01 12:00:00","created_at":"2025-03-01T12:00:00.250000Z"}'
    ]


@pytest.mark.parametrize(
    ("ten_thousandths", "text"),
    [
        (0, "0"),
        (1, "0.0001"),
        (1_000, "0.1"),
        (100_000, "10"),
        (999_900, "99.99"),
        (1_000_000_000_000, "100000000"),
        (99_999_999_999_999, "9999999999.9999"),
    ],
)
def test_an_amount_is_sent_as_an_exact_number(receiver: Receiver, ten_thousandths: int, text: str) -> None:
    processor(receiver.url)([order(total_amount=ten_thousandths)])
    [body] = receiver.bodies
    assert f'"total_amount":{text},'.encode() in body
    assert json.loads(body, parse_float=Decimal, parse_int=Decimal)["total_amount"] == Decimal(ten_thousandths) / 10_000


def test_the_largest_ids_are_sent_exactly(receiver: Receiver) -> None:
    processor(receiver.url)([order(2**63 - 1)])
    assert json.loads(receiver.bodies[0])["order_id"] == 2**63 - 1
    assert receiver.deliveries[0].headers["webhook-id"] == f"order_{2**63 - 1}"


@pytest.mark.parametrize(
    "metadata",
    [
        "{}",
        '{ "currency":"EUR",\t"rate": 1.50, "rate2": 1E2 }',
        '{"street": "Größe ✓ 🛒", "escaped": "\\u00e9\\/\\ud800"}',
        '{"long": 123456789012345678901234567890.0000000000000000000001}',
        '{"b": {"a": [null, true, false, {}]}, "a": 1}',
        '{"padding": "' + "é" * 8_000 + '"}',
    ],
)
def test_metadata_is_sent_byte_for_byte(receiver: Receiver, metadata: str) -> None:
    processor(receiver.url)([order(metadata=metadata)])
    [body] = receiver.bodies
    assert body.endswith(b'","metadata":' + metadata.encode() + b"}")
    json.loads(body)


def test_without_metadata_the_body_has_no_such_field(receiver: Receiver) -> None:
    processor(receiver.url)([order(metadata=None)])
    assert "metadata" not in json.loads(receiver.bodies[0])


def test_the_largest_order_is_sent_whole(receiver: Receiver) -> None:
    items = [2**63 - 1 - number for number in range(1_000)]
    processor(receiver.url)(
        [Order(1, 1, 1, items, 1, '{"a":"' + "x" * 16_000 + '"}', Status.PROCESSING, 1, 1, None, 0, None)]
    )
    assert json.loads(receiver.bodies[0])["item_ids"] == items


@pytest.mark.parametrize("secret", [SECRET, SECRET.removeprefix("whsec_"), "c2VjcmU=", "c2VjcmU", "whsec_c2VjcmU"])
def test_a_delivery_is_signed_with_a_secret_in_any_notation(secret: str) -> None:
    with Receiver() as receiver:
        processor(receiver.url, secrets=(secret,))([order(metadata='{"ü": "✓"}')])
        [delivery] = receiver.deliveries
        assert Webhook(secret).verify(delivery.body, dict(delivery.headers))["order_id"] == 7


def test_a_delivery_has_a_signature_for_each_secret(receiver: Receiver) -> None:
    other = "whsec_b3RoZXItc2VjcmV0LW9mLXRoZXNlLXRlc3Rz"
    processor(receiver.url, secrets=(SECRET, other))([order()])
    [delivery] = receiver.deliveries
    for secret in (SECRET, other):
        assert Webhook(secret).verify(delivery.body, dict(delivery.headers))["order_id"] == 7
    assert re.fullmatch(r"v1,[A-Za-z0-9+/=]{44} v1,[A-Za-z0-9+/=]{44}", delivery.headers["webhook-signature"])


def test_replaced_secrets_sign_later_deliveries(receiver: Receiver) -> None:
    deliver = processor(receiver.url, secrets=("b2xk",))
    deliver.runner.replace_secrets((SECRET,))
    deliver([order()])  # the receiver verifies the signature


def test_a_delivery_has_the_headers_of_the_settings(receiver: Receiver) -> None:
    headers = (("Authorization", "Bearer x"), ("user-agent", "shop"), ("X-Empty", ""))
    processor(receiver.url, headers=headers)([order()])
    [delivery] = receiver.deliveries
    assert delivery.headers["x-empty"] == ""
    assert (delivery.headers["authorization"], delivery.headers["user-agent"]) == ("Bearer x", "shop")
    assert delivery.headers["content-type"] == "application/json"


def test_the_trace_headers_of_an_order_are_sent(receiver: Receiver) -> None:
    deliver = processor(receiver.url)
    deliver([replace(order(1), trace_headers='{"traceparent":"00-ab","X-Request-Id":"mine"}'), order(2)])
    names = ("traceparent", "x-request-id")
    sent = [[delivery.headers.get(name) for name in names] for delivery in receiver.deliveries]
    assert sent == [["00-ab", "mine"], [None, None]]


def test_attempts_have_the_same_id_and_body_and_different_times(receiver: Receiver) -> None:
    start_s = int(time.time())
    times_s = [start_s - 60.0, start_s + 0.999_999_9, start_s + 60.4]
    deliver = processor(receiver.url, clock=lambda: times_s[min(len(receiver.deliveries), 2)])
    receiver.script = in_turn(answer(500), answer(429), answer(200))
    for attempt in (1, 2):
        failed_delivery(deliver, order(metadata='{"a": 1}', attempts=attempt))
    deliver([order(metadata='{"a": 1}', attempts=3)])
    assert {delivery.headers["webhook-id"] for delivery in receiver.deliveries} == {"order_7"}
    assert len(set(receiver.bodies)) == 1
    stamps = [int(delivery.headers["webhook-timestamp"]) for delivery in receiver.deliveries]
    # The sum above is rounded to a float, and then truncated to a second, so the second stamp can be either value.
    assert stamps in ([start_s - 60, start_s, start_s + 60], [start_s - 60, start_s + 1, start_s + 60])


def test_each_order_has_its_own_id(receiver: Receiver) -> None:
    processor(receiver.url)([order(8), order(9)])
    assert [delivery.headers["webhook-id"] for delivery in receiver.deliveries] == ["order_8", "order_9"]


# Responses


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 226, 299])
def test_a_2xx_completes_the_order(receiver: Receiver, status: int) -> None:
    receiver.script = answer(status)
    processor(receiver.url)([order(1), order(2)])
    assert [delivery.connection for delivery in receiver.deliveries] == [1, 1]


@pytest.mark.parametrize("status", [301, 304, 400, 401, 404, 408, 413, 429, 500, 503, 599, 999])
def test_any_other_response_is_retried(receiver: Receiver, status: int) -> None:
    receiver.script = answer(status)
    failure = failed_delivery(processor(receiver.url))
    assert isinstance(failure.error, NotDeliveredError)
    assert failure.text == f"the receiver answered {status}"
    assert failure.retry_after_s == 0
    assert len(receiver.deliveries) == 1


@pytest.mark.parametrize("status", [410, 422])
def test_a_410_or_422_rejects_the_order(receiver: Receiver, status: int) -> None:
    receiver.script = answer(status, b"", "Retry-After: 5")
    failure = failed_delivery(processor(receiver.url))
    assert isinstance(failure.error, Rejected)
    assert failure.text == f"the receiver answered {status}"
    assert len(receiver.deliveries) == 1


@pytest.mark.parametrize("status", [102, 103, 199])
def test_an_informational_response_is_skipped(receiver: Receiver, status: int) -> None:
    informational = b"HTTP/1.1 %d News\r\nLink: x\r\n\r\n" % status
    receiver.script = in_turn(
        send(informational + reply(200)), send(informational + informational + reply(500)), answer(200)
    )
    deliver = processor(receiver.url)
    deliver([order(1)])
    assert failed_delivery(deliver, order(2)).text == "the receiver answered 500"
    deliver([order(3)])
    assert {delivery.connection for delivery in receiver.deliveries} == {1}


def test_the_response_after_100_continue_decides(receiver: Receiver) -> None:
    receiver.script = in_turn(
        send(b"HTTP/1.1 100 Continue\r\n\r\n" + reply(200)), send(b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n" + reply(500))
    )
    deliver = processor(receiver.url)
    deliver([order()])
    assert failed_delivery(deliver).text == "the receiver answered 500"


@cases("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    with Receiver() as target:
        receiver.script = answer(status, b"", f"Location: {target.url}")
        assert isinstance(failed_delivery(processor(receiver.url)).error, NotDeliveredError)
        receiver.script = answer(status, b"", "Location: /elsewhere")
        assert isinstance(failed_delivery(processor(receiver.url)).error, NotDeliveredError)
        assert target.connections == 0
        assert {delivery.target for delivery in receiver.deliveries} == {"/hook"}


@cases("status", [307, 404, 429, 500, 503])
def test_retry_after_is_the_minimum_delay(receiver: Receiver, status: int) -> None:
    receiver.script = answer(status, b"", "Retry-After: 120")
    assert failed_delivery(processor(receiver.url)).retry_after_s == 120


def test_retry_after_as_a_date_is_the_delay(receiver: Receiver) -> None:
    receiver.script = answer(503, b"", f"Retry-After: {email.utils.formatdate(time.time() + 3_600, usegmt=True)}")
    assert 3_500 < failed_delivery(processor(receiver.url)).retry_after_s <= 3_600


@pytest.mark.parametrize(("status", "lines"), [(429, []), (429, ["Retry-After: 9"]), (503, ["Retry-After: 9"])])
def test_no_order_is_sent_during_a_pause(receiver: Receiver, status: int, lines: list[str]) -> None:
    receiver.script = in_turn(answer(status, b"", *lines), answer(200))
    now_s = [0.0]
    deliver = processor(receiver.url, gate=new_gate(1, lambda: now_s[0]))
    busy = failed_delivery(deliver, order(1))
    assert isinstance(busy.error, ReceiverBusyError)
    assert busy.retry_after_s == pytest.approx(9 if lines else 1.2)
    with pytest.raises(NotSentError):
        deliver([order(2)])
    now_s[0] = 9.0
    deliver([order(2)])
    assert [json.loads(body)["order_id"] for body in receiver.bodies] == [1, 2]


def test_failed_connections_pause_deliveries() -> None:
    listener, port = free_port()
    listener.close()
    deliver = processor(f"http://127.0.0.1:{port}/hook", gate=new_gate(1, lambda: 0.0))
    for number in range(MAX_UNREACHABLE):
        failed_delivery(deliver, order(1 + number))
    with pytest.raises(NotSentError):
        deliver([order()])


def test_an_error_of_this_program_fails_the_attempt_and_does_not_pause_deliveries(receiver: Receiver) -> None:
    gate = new_gate(1, lambda: 0.0)
    deliver = processor(receiver.url, headers=(("X-Shop", "\N{SNOWMAN}"),), gate=gate)  # the flag allows only ASCII
    for number in range(2 * MAX_UNREACHABLE):
        assert failed_delivery(deliver, order(1 + number)).text.startswith("internal error: UnicodeEncodeError: ")
    assert gate.opens_in_s() == 0
    assert receiver.deliveries == []


@pytest.mark.parametrize("status", [400, 500])
def test_the_error_contains_the_beginning_of_the_response_in_one_line(receiver: Receiver, status: int) -> None:
    receiver.script = in_turn(
        answer(status, "  no such\r\n\tshop\x85\u2028\x0b \n".encode()),
        answer(status, "größer ✓ ".encode() + b"\xff\xfe"),
        answer(status, gzip.compress(b"<h1>no</h1>"), "Content-Encoding: gzip", "Content-Type: text/html"),
        answer(status, b"a" * 100_000),
        answer(status, b"\n" * 100_000),
    )
    deliver = processor(receiver.url)
    begin = f"the receiver answered {status}"
    assert failed_delivery(deliver).text == f"{begin}: no such shop"
    assert failed_delivery(deliver).text == f"{begin}: größer ✓ " + 2 * "\N{REPLACEMENT CHARACTER}"
    assert failed_delivery(deliver).text == f"{begin}: no"
    assert failed_delivery(deliver).text == f"{begin}: " + MAX_SHOWN_CHARACTERS * "a"
    assert failed_delivery(deliver).text == begin


def test_the_error_contains_a_chunked_response(receiver: Receiver) -> None:
    receiver.script = send(
        b"HTTP/1.1 422 No\r\nTransfer-Encoding: chunked\r\n\r\n6;a=b\r\nno suc\r\n6\r\nh shop\r\n0\r\nA: b\r\n\r\n"
    )
    deliver = processor(receiver.url)
    for _ in range(2):
        assert failed_delivery(deliver).text == "the receiver answered 422: no such shop"
    assert receiver.connections == 1


def test_the_status_of_an_incomplete_response_decides(receiver: Receiver) -> None:
    broken = b"Content-Length: 100\r\n\r\nten bytes."
    receiver.script = in_turn(
        send_and_hang_up(b"HTTP/1.1 200 OK\r\n" + broken), send_and_hang_up(b"HTTP/1.1 422 No\r\n" + broken)
    )
    deliver = processor(receiver.url)
    deliver([order()])
    failure = failed_delivery(deliver)
    assert isinstance(failure.error, Rejected)
    assert failure.text.startswith("the receiver answered 422")


# Connections


def test_many_orders_share_a_connection(receiver: Receiver) -> None:
    receiver.script = answer(200, b"thanks" * 1_000)
    deliver = processor(receiver.url)
    for order_id in range(1, 51):
        deliver([order(order_id)])
    assert len(receiver.deliveries) == 50
    assert receiver.connections == 1


@pytest.mark.parametrize("status", [304, 307, 404, 500])
def test_the_connection_is_reused_after_an_error_response(receiver: Receiver, status: int) -> None:
    receiver.script = in_turn(answer(status, b"" if status == 304 else b"x" * 1_000), answer(200))
    deliver = processor(receiver.url)
    failed_delivery(deliver)
    deliver([order()])
    assert receiver.connections == 1


def test_the_connection_is_reused_after_the_longest_response_that_is_read(receiver: Receiver) -> None:
    receiver.script = answer(200, b"x" * MAX_BODY_BYTES)
    deliver = processor(receiver.url)
    deliver([order(1), order(2)])
    assert receiver.connections == 1


def test_a_receiver_can_close_idle_connections_without_a_failed_attempt(receiver: Receiver) -> None:
    deliver = processor(receiver.url)
    for order_id in (1, 2, 3):
        deliver([order(order_id)])
        receiver.hang_up()
    assert [delivery.connection for delivery in receiver.deliveries] == [1, 2, 3]


@pytest.mark.parametrize(
    "text", [reply(200, b"thanks", "Connection: close"), b"HTTP/1.0 200 OK\r\n\r\nthanks", b"HTTP/1.1 200 OK\r\n\r\n"]
)
def test_a_receiver_can_close_after_each_response_without_a_failed_attempt(receiver: Receiver, text: bytes) -> None:
    receiver.script = send_and_hang_up(text)
    deliver = processor(receiver.url)
    deliver([order(1), order(2)])
    assert [delivery.connection for delivery in receiver.deliveries] == [1, 2]


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (f"HTTP/1.1 200 OK\r\nContent-Length: {2**40}\r\n\r\n".encode(), b"x" * 65_536),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"8000\r\n" + b"x" * 32_768 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65_536),
    ],
    ids=["length", "chunks", "until it closes"],
)
def test_only_the_beginning_of_an_endless_response_is_read(receiver: Receiver, head: bytes, piece: bytes) -> None:
    flood = Flood(head, piece)
    receiver.script = in_turn(flood, answer(200))
    deliver = processor(receiver.url)
    deliver([order(1)])
    assert flood.ended.wait(DEADLINE_S)
    assert flood.sent < Flood.MAX_BYTES
    deliver([order(2)])
    assert [delivery.connection for delivery in receiver.deliveries] == [1, 2]


def test_concurrent_deliveries_use_at_most_one_connection_each(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    connections = 8
    deliver = processor(receiver.url, connections=connections)
    receiver.script = answer(200, b"thanks")
    deliver.start([order(order_id) for order_id in range(1, 201)])
    assert [error for _, error, _ in (deliver.next_result() for _ in range(200)) if error] == []
    assert sorted(json.loads(body)["order_id"] for body in receiver.bodies) == list(range(1, 201))
    assert receiver.connections <= connections
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# Orders that wait


def test_the_queue_is_short_for_a_slow_receiver_and_long_for_a_fast_one(receiver: Receiver) -> None:
    def slow(wire: Wire) -> None:
        wire.hold(0.2)
        wire.send(reply(200))

    deliver = processor(receiver.url)
    assert deliver.runner.capacity == 1
    receiver.script = slow
    deliver([order()])
    assert deliver.runner.capacity == 1
    receiver.script = answer(200)
    while deliver.runner.capacity == 1:  # the duration of the latest attempts counts
        deliver([order()])


def test_orders_that_have_not_been_sent_can_be_taken_back(receiver: Receiver) -> None:
    goes_on = threading.Event()

    def script(wire: Wire) -> None:
        goes_on.wait(DEADLINE_S)
        wire.send(reply(200))

    receiver.script = script
    deliver = processor(receiver.url)
    orders = [order(order_id) for order_id in (1, 2, 3)]
    deliver.start(orders)
    wait_until(lambda: deliver.runner.in_time == 1)
    assert deliver.withdraw() == orders[1:]
    assert deliver.withdraw() == []
    goes_on.set()
    assert deliver.next_result()[:2] == (orders[0], None)
    deliver([order(4)])
    assert [json.loads(body)["order_id"] for body in receiver.bodies] == [1, 4]


def test_orders_that_wait_when_a_pause_begins_are_not_sent(receiver: Receiver) -> None:
    receiver.script = answer(429)
    deliver = processor(receiver.url, gate=new_gate(1, lambda: 0.0))
    deliver.start([order(order_id) for order_id in (1, 2, 3)])
    errors = [error for _, error, _ in (deliver.next_result() for _ in range(3))]
    assert [type(error) for error in errors] == [ReceiverBusyError, NotSentError, NotSentError]
    assert len(receiver.deliveries) == 1


@pytest.mark.parametrize("stored", ["no JSON", '{"a": "ü"}', '{"a": "\\r\\nb: c"}', '{"a": "\\u0000"}'])
def test_an_order_with_damaged_headers_has_an_error_and_the_next_one_is_sent(receiver: Receiver, stored: str) -> None:
    deliver = processor(receiver.url)
    with pytest.raises(ValueError, match=r"JSON|valid"):
        deliver([replace(order(1), trace_headers=stored)])
    deliver([order(2)])
    assert len(receiver.deliveries) == 1


def test_a_runner_that_is_closed_sends_no_more_orders(receiver: Receiver) -> None:
    receiver.script = hold
    deliver = processor(receiver.url)
    deliver.start([order(1), order(2)])
    wait_until(lambda: len(receiver.deliveries) == 1)
    assert deliver.runner.in_time == 1
    deliver.withdraw()
    deliver.close()
    deliver.close()
    wait_until(lambda: deliver.runner.in_time == 0)
    assert len(receiver.deliveries) == 1


# Receivers that do not respond


def test_a_delivery_to_a_closed_port_is_retried() -> None:
    listener, port = free_port()
    listener.close()
    failure = failed_delivery(processor(f"http://127.0.0.1:{port}/hook"))
    assert failure.text == "the receiver can't be reached: [Errno 111] Connection refused"
    assert failure.seconds < LONG_S


def test_a_delivery_to_an_invalid_host_name_is_retried() -> None:
    assert isinstance(failed_delivery(processor("http://a..b/hook")).error, NotDeliveredError)


@cases(
    "script",
    [
        send_and_hang_up(),
        send_and_hang_up(b"HTTP/1.1 2"),
        send_and_hang_up(b"SSH-2.0-OpenSSH_9.2\r\n"),
        send_and_hang_up(b"\0\xff\n" * 1_000),
        send_and_hang_up(b"x" * 100_000),
        send_and_hang_up(b"HTTP/1.1 abc OK\r\n\r\n"),
        send_and_hang_up(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 400_000 + b"\r\n\r\n"),
        send_and_hang_up(b"HTTP/1.1 200 OK\r\n" + b"A: x\r\n" * 6_000 + b"\r\n"),
        Flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000),
    ],
)
def test_a_delivery_is_retried_if_the_response_is_not_http(receiver: Receiver, script: Script) -> None:
    receiver.script = script
    failure = failed_delivery(processor(receiver.url))
    assert isinstance(failure.error, NotDeliveredError)
    assert re.fullmatch(r"no HTTP answer: \S.{,500}", failure.text)
    assert failure.text.isprintable()
    receiver.script = answer(200)
    processor(receiver.url)([order()])


@pytest.mark.parametrize(
    "script",
    [
        hold,
        drip(b"HTTP/1.1 200 "),
        drip(b"HTTP/1.1 200 OK\r\nX-Slow: "),
    ],
    ids=["nothing", "status line", "header"],
)
def test_a_receiver_that_does_not_finish_its_headers_times_out(receiver: Receiver, script: Script) -> None:
    receiver.script = script
    deliver = processor(receiver.url, timeout_s=SHORT_S)
    failure = failed_delivery(deliver)
    assert isinstance(failure.error, NotDeliveredError)
    assert failure.text == f"no answer within {SHORT_S:g} s"
    assert SHORT_S * 0.9 < failure.seconds < LONG_S
    receiver.script = answer(200)
    deliver([order()])
    assert receiver.connections == 2


@pytest.mark.parametrize("timeout_s", [SHORT_S, DEADLINE_S])
def test_an_attempt_is_given_up_after_the_time_out_of_attempts_if_it_is_shorter(
    receiver: Receiver, timeout_s: float
) -> None:
    receiver.script = hold
    deliver = processor(receiver.url, timeout_s=timeout_s, attempt_timeout_s=SHORT_S)
    with pytest.raises(NotDeliveredError if timeout_s == SHORT_S else NoResultError, match=f"within {SHORT_S:g} s$"):
        deliver([order()])
    receiver.script = answer(200)
    deliver([order()])
    assert [delivery.connection for delivery in receiver.deliveries] == [1, 2]


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 10000\r\n\r\n", b"\r\n", b"Transfer-Encoding: chunked\r\n\r\n2710\r\n"]
)
def test_a_2xx_with_an_endless_body_completes_the_order_in_time(receiver: Receiver, framing: bytes) -> None:
    receiver.script = in_turn(drip(b"HTTP/1.1 200 OK\r\n" + framing), answer(200))
    deliver = processor(receiver.url, timeout_s=SHORT_S)
    began_s = time.monotonic()
    deliver([order(1)])
    assert time.monotonic() - began_s < LONG_S
    deliver([order(2)])
    assert [delivery.connection for delivery in receiver.deliveries] == [1, 2]


def test_an_error_response_with_an_endless_body_ends_in_time(receiver: Receiver) -> None:
    receiver.script = drip(b"HTTP/1.1 429 Slow\r\nRetry-After: 9\r\nContent-Length: 10000\r\n\r\n")
    failure = failed_delivery(processor(receiver.url, timeout_s=SHORT_S))
    assert failure.retry_after_s == 9
    assert failure.seconds < LONG_S


def test_each_order_on_a_connection_has_its_own_time_out(receiver: Receiver) -> None:
    def slow(wire: Wire) -> None:
        wire.hold(0.6)
        wire.send(reply(200, b"thanks"))

    receiver.script = slow
    processor(receiver.url, timeout_s=1.0)([order(1), order(2)])
    assert [delivery.connection for delivery in receiver.deliveries] == [1, 1]


# Secrets


def test_neither_the_secret_nor_the_path_is_in_errors_or_logs(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    path = "/path-token?query=query-token"
    receiver.script = in_turn(
        answer(200),
        answer(404, b"no"),
        answer(503),
        answer(307, b"", "Location: /"),
        send_and_hang_up(),
        send_and_hang_up(b"garbage\r\n"),
        hold,
    )
    deliver = processor(f"http://127.0.0.1:{receiver.port}{path}", timeout_s=SHORT_S)
    deliver([order()])
    texts = [failed_delivery(deliver).text for _ in range(6)]
    listener, port = free_port()
    listener.close()
    texts.append(failed_delivery(processor(f"http://127.0.0.1:{port}{path}")).text)
    texts.append(failed_delivery(processor(f"http://a..b{path}")).text)
    texts.append(failed_delivery(processor(f"https://127.0.0.1:{receiver.port}{path}")).text)
    texts += [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG]
    for text in texts:
        assert "token" not in text
    for secret in (SECRET, SECRET.removeprefix("whsec_"), "C2FVsBQI"):
        assert secret not in "".join(texts) + caplog.text


# TLS


def test_an_untrusted_certificate_is_rejected(tls_receiver: Receiver) -> None:
    failure = failed_delivery(processor(tls_receiver.url))
    assert isinstance(failure.error, NotDeliveredError)
    assert "CERTIFICATE_VERIFY_FAILED" in failure.text
    assert tls_receiver.deliveries == []


def test_a_receiver_with_a_trusted_certificate_gets_its_orders(
    tls_receiver: Receiver, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    deliver = processor(tls_receiver.url)
    tls_receiver.script = in_turn(answer(200), answer(200, b"x" * MAX_BODY_BYTES), answer(422, b"no"), answer(200))
    deliver([order(1), order(2)])
    assert failed_delivery(deliver).text == "the receiver answered 422: no"
    assert tls_receiver.connections == 1
    tls_receiver.hang_up()
    deliver([order(3)])
    assert tls_receiver.connections == 2


def test_a_trusted_certificate_for_another_name_is_rejected(
    tls_receiver: Receiver, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    failure = failed_delivery(processor(f"https://localhost:{tls_receiver.port}/hook"))
    assert isinstance(failure.error, NotDeliveredError)
    assert tls_receiver.deliveries == []


def test_a_slow_response_over_tls_times_out(
    tls_receiver: Receiver, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls_receiver.script = drip(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    failure = failed_delivery(processor(tls_receiver.url, timeout_s=SHORT_S))
    assert isinstance(failure.error, NotDeliveredError)
    assert failure.seconds < LONG_S


def test_a_delivery_over_https_to_a_receiver_without_tls_is_retried(receiver: Receiver) -> None:
    url = f"https://127.0.0.1:{receiver.port}/hook"
    assert isinstance(failed_delivery(processor(url)).error, NotDeliveredError)


# Flags


@cases(
    "url",
    [
        "http://localhost",
        "https://shop.example/hook?a=b&c=%20#d",
        "HTTPS://Shop.Example:8443/",
        "http://127.0.0.1:80",
        "http://[::1]:8080/hook",
        "http://shop.example/größe",
    ],
)
def test_a_valid_url_is_returned_unchanged(url: str) -> None:
    assert check_url(url) == url


@cases(
    "url",
    [
        "",
        "shop.example/hook",
        "//shop.example/hook",
        "/hook",
        "ftp://shop.example",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http:shop.example",
        "http://",
        "http:///hook",
        "http://:80/",
        "http://user:password@shop.example/",
        "http://user@shop.example/",
        "http://shop.example:99999/",
        "http://shop.example:port/",
        "http://shop.example/a b",
        " http://shop.example/",
        "http://shop.example/\n",
        "http://shop.example/\r\nHost: other",
        "http://shop.example/\u2028",
        "http://shop.example/\x7f",
        "http://[::1/",
        "http://::1/",
    ],
)
def test_an_invalid_url_is_rejected(url: str) -> None:
    with pytest.raises(ValueError, match=r"^must be an http:// or https:// URL, without a user name or a password$"):
        check_url(url)
