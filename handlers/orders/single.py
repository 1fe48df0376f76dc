"""`POST /order` and `GET /order/{id}`. Runs on the event loop."""

import time
from asyncio import Future, create_task
from collections.abc import Mapping
from typing import Any

from msgspec import structs
from tornado.httputil import HTTPHeaders

from handlers.metrics.instruments import Instruments, IntakeOutcome
from handlers.orders.order_view import order_view
from handlers.orders.preferences import MAX_WAIT_S, preferred_wait_s
from handlers.problems.problem import NOT_FOUND, UNSUPPORTED_MEDIA_TYPE, Problem
from handlers.requests.error_responses import ErrorResponder
from handlers.requests.exchange import ACCEPTED, OK, Exchange, cancel_on_disconnect
from handlers.requests.query_parameters import QueryParameters
from handlers.requests.request_head import RequestHead
from handlers.service import Service
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.json_encoder import encode
from models.errors import InvalidOrderError, NotJsonError, QueueClosedError, QueueFullError
from models.order import Order
from models.parsing.order_body import MAX_ID
from models.parsing.order_parser import parse_order
from models.trace_headers import REQUEST_ID, TRACEPARENT, trace_headers_in
from models.writes.insertion import Insertion, NewOrder

_JSON = "application/json"


def parse_order_id(id_text: str) -> int | None:
    """The order id in a path, `id_text`, which must consist of digits.

    None if no order can have this id, because the id begins with a zero or exceeds `MAX_ID`.
    """
    if id_text.startswith("0") or len(id_text) > len(str(MAX_ID)) or int(id_text) > MAX_ID:
        return None
    return int(id_text)


def check_not_encoded(headers: HTTPHeaders) -> None:
    """Raises a Problem if the body has a content encoding, such as gzip."""
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        # RFC 9110 §12.5.3: Accept-Encoding in a 415 says that the encoding was not accepted, not the media type.
        detail = "Send orders without a content encoding."
        raise Problem(UNSUPPORTED_MEDIA_TYPE, detail, headers={"Accept-Encoding": "identity"})


def check_content_type(content_type: str) -> None:
    """Raises a Problem unless the content type is JSON."""
    if content_type != _JSON and content_type.partition(";")[0].strip().lower() != _JSON:
        raise Problem(UNSUPPORTED_MEDIA_TYPE, "Send an order as application/json.", headers={"Accept": _JSON})


def check_is_json(headers: HTTPHeaders) -> None:
    """Raises a Problem unless the headers declare a JSON body without a content encoding."""
    check_content_type(headers.get("Content-Type", ""))
    if "Content-Encoding" in headers:
        check_not_encoded(headers)


def order_not_found(id_text: str) -> Problem:
    """The 404 for an unknown order. `id_text` is the id as it was sent."""
    return Problem(NOT_FOUND, f"There is no order {id_text}.")


def read_order(body: bytes, *, instruments: Instruments) -> NewOrder:
    """Parses the body of a `POST /order`. If it is invalid, counts it and raises NotJsonError or InvalidOrderError."""
    try:
        return parse_order(body)
    except (NotJsonError, InvalidOrderError):
        instruments.count_intake(IntakeOutcome.INVALID)
        raise


def with_trace_headers(order: NewOrder, headers: Mapping[str, str]) -> NewOrder:
    """The order with the trace headers of its request, which are stored with the order: see `models/trace_headers.py`.

    Lower-case names must work as keys of `headers`.
    """
    if TRACEPARENT not in headers and REQUEST_ID not in headers:
        return order
    return structs.replace(order, trace_headers=trace_headers_in(headers))


def accepted(order_id: int, insertion: Insertion) -> tuple[dict[str, str], bytes]:
    """The headers and the body of the 202. `insertion` says whether the order was new."""
    headers = {"Location": f"/order/{order_id}"}
    if insertion is Insertion.REPLAYED:
        headers["Idempotent-Replayed"] = "true"
    return headers, b'{"message": "Order processing initiated successfully", "order_id": "%d"}' % order_id


class NewOrderExchange(Exchange):
    """`POST /order`: 202 when the order is on disk.

    With `Prefer: wait=N`: 200 with the order if it is Completed, Failed or Cancelled within N seconds, otherwise 202.
    """

    def __init__(
        self,
        head: RequestHead,
        *,
        in_flight: InFlightRequests,
        errors: ErrorResponder,
        service: Service,
        instruments: Instruments,
    ) -> None:
        super().__init__(head, in_flight=in_flight, errors=errors)
        self._instruments = instruments
        self._service = service
        self._wait_s: int | None = None

    def begin(self, body: bytes) -> Future[Any]:
        self._begin_s = time.perf_counter()
        headers = self.head.headers
        check_is_json(headers)
        order = with_trace_headers(read_order(body, instruments=self._instruments), headers)
        self._order_id = self.head.subject.order_id = order.order_id
        try:
            insertion = self._service.insert(order)
        except (QueueFullError, QueueClosedError):
            self._instruments.count_intake(IntakeOutcome.REFUSED)
            raise
        if "Prefer" in headers:
            self._wait_s = preferred_wait_s(headers)
        if self._wait_s:
            return cancel_on_disconnect(
                self.head, create_task(self._service.wait_for_end(insertion, order.order_id, self._wait_s))
            )
        return insertion

    def answer(self, result: Insertion | tuple[Insertion, Order | None]) -> None:
        insertion, ended = (result, None) if isinstance(result, Insertion) else result
        headers, body = accepted(self._order_id, insertion)
        if ended:
            headers["Preference-Applied"] = f"wait={self._wait_s}"
            self.write(OK, headers, encode(order_view(ended)))
            return
        self.write(ACCEPTED, headers, body)
        if not self._wait_s:
            self._instruments.ack_s.observe(time.perf_counter() - self._begin_s)


class OrderExchange(Exchange):
    """`GET /order/{id}`. With `?wait=N`, waits up to N seconds until the order is Completed, Failed or Cancelled."""

    def __init__(
        self,
        head: RequestHead,
        *,
        in_flight: InFlightRequests,
        errors: ErrorResponder,
        service: Service,
    ) -> None:
        super().__init__(head, in_flight=in_flight, errors=errors)
        self._service = service

    def begin(self, body: bytes) -> Future[Order | None]:
        self._id_text = self.head.path.removeprefix("/order/")
        order_id = parse_order_id(self._id_text)
        wait_s = self._read_wait() if "?" in self.head.start_line.path else None
        if order_id is None:
            raise order_not_found(self._id_text)
        if wait_s:
            return cancel_on_disconnect(self.head, create_task(self._service.find_when_ended(order_id, wait_s)))
        return self._service.find(order_id)

    def _read_wait(self) -> int | None:
        # Other parameters, such as a cache buster, are ignored.
        values = self.head.as_request().query_arguments.get("wait")
        parameters = QueryParameters({"wait": values} if values else {}, allowed=("wait",))
        wait_s = parameters.integer("wait", 0, MAX_WAIT_S)
        parameters.check()
        return wait_s

    def answer(self, result: Order | None) -> None:
        if result is None:
            raise order_not_found(self._id_text)
        self.write(OK, {}, encode(order_view(result)))
