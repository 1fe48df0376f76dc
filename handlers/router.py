"""Who takes a request, once its headers are there. Runs on the event loop."""

import asyncio
from asyncio import Future
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, cast

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.web import Application

from handlers.metrics.instruments import Measurements
from handlers.orders.bulk import MAX_GROUPS, Bulk
from handlers.orders.bulk_exchange import MAX_ARRAYS_BYTES, ByteRoom, bulk_exchange
from handlers.orders.order import NewOrderExchange, OrderExchange
from handlers.problems.problem import Problem
from handlers.sse.metric_events import MetricsExchange, MetricsStreams
from handlers.sse.order_events import EventsExchange, EventStreams
from handlers.transport.base_handler import ProblemHandler
from handlers.transport.body_limit import BodyLimit, is_short
from handlers.transport.exchange import Incoming
from handlers.transport.in_flight import Traffic
from models.order import NewOrder, Order
from models.writes import Inserted, Insertion


class Intake(Protocol):
    """How orders get in, and how one is looked up."""

    def insert(self, order: NewOrder, /) -> Future[Insertion]: ...

    def insert_many(self, orders: list[NewOrder], /) -> Awaitable[list[Inserted]]: ...

    def until_final(
        self, inserted: Future[Insertion], order_id: int, timeout_s: float, /
    ) -> Coroutine[Any, Any, tuple[Insertion, Order | None]]: ...

    def find(self, order_id: int, /) -> Future[Order | None]: ...

    def find_final(self, order_id: int, timeout_s: float, /) -> Coroutine[Any, Any, Order | None]: ...


class Router(HTTPServerConnectionDelegate):
    """The exchanges before the application, and a limit on bodies that is answered and not only enforced."""

    def __init__(
        self,
        application: Application,
        *,
        traffic: Traffic,
        admit: Callable[[Incoming], None],
        intake: Intake,
        streams: EventStreams,
        metrics_streams: MetricsStreams,
        measurements: Measurements,
    ) -> None:
        self._application = application
        self._traffic = traffic
        self._admit = admit
        self._intake = intake
        self._streams = streams
        self._metrics_streams = metrics_streams
        self._measurements = measurements
        self._groups = asyncio.Semaphore(MAX_GROUPS)
        self._arrays = ByteRoom(MAX_ARRAYS_BYTES)

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        return _Routed(self, server_conn, request_conn)

    def route(self, incoming: Incoming) -> HTTPMessageDelegate:
        """Who takes the request."""
        delegate: HTTPMessageDelegate
        path, method = incoming.path, incoming.start_line.method
        try:
            self._admit(incoming)
        except Problem as problem:
            return BodyLimit(HTTPMessageDelegate(), incoming, refuse=self._refuse, problem=problem)
        traffic, refuse, intake = self._traffic, self._refuse, self._intake
        if path == "/order" and method == "POST":
            delegate = NewOrderExchange(
                incoming,
                traffic=traffic,
                refuse=refuse,
                insert=intake.insert,
                until_final=intake.until_final,
                measurements=self._measurements,
            )
        elif path.startswith("/order/") and path[7:].isdecimal() and method in ("GET", "HEAD"):
            delegate = OrderExchange(
                incoming, traffic=traffic, refuse=refuse, find=intake.find, find_final=intake.find_final
            )
        elif path == "/orders" and method == "POST":
            bulk = Bulk(insert_many=intake.insert_many, room=self._groups, measurements=self._measurements)
            return bulk_exchange(incoming, traffic=traffic, refuse=refuse, bulk=bulk, arrays=self._arrays)
        elif path == "/orders/events" and method == "GET":
            delegate = EventsExchange(incoming, streams=self._streams, refuse=refuse)
        elif path == "/metrics/events" and method == "GET":
            delegate = MetricsExchange(incoming, streams=self._metrics_streams, refuse=refuse)
        else:
            delegate = self._application.find_handler(_without_form(incoming))
        return delegate if is_short(incoming.headers) else BodyLimit(delegate, incoming, refuse=self._refuse)

    def _refuse(self, incoming: Incoming, error: BaseException) -> None:
        given = {"traffic": self._traffic, "error": error}
        self._application.get_handler_delegate(_without_form(incoming), ProblemHandler, given).finish()


def _without_form(incoming: Incoming) -> HTTPServerRequest:
    """The request for a handler that wants no body; Tornado would parse a form, and answer 400 for a bad one."""
    request = incoming.as_request()
    if "Content-Type" in request.headers:
        del request.headers["Content-Type"]
    return request


class _Routed(HTTPMessageDelegate):
    """A request on its way to whom the router gives it, once its headers are there."""

    def __init__(self, router: Router, server_connection: object, connection: HTTPConnection) -> None:
        self._router = router
        self._server_connection = server_connection
        self._connection = connection
        self._delegate = HTTPMessageDelegate()

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        incoming = Incoming(
            server_connection=self._server_connection,
            connection=self._connection,
            start_line=cast(RequestStartLine, start_line),
            headers=headers,
        )
        self._delegate = self._router.route(incoming)
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._delegate.data_received(chunk)

    def finish(self) -> None:
        self._delegate.finish()

    def on_connection_close(self) -> None:
        self._delegate.on_connection_close()
