"""Chooses the Exchange or RequestHandler that serves a request, after its headers have been read.

Exchanges bypass Tornado's RequestHandler. Exchanges serve the requests that must be fast or that stream. The
RequestHandlers of the URL table in `handlers/routes.py` serve all other requests. Runs on the event loop.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, cast

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.web import Application

from handlers.logs.access_log import AccessLog
from handlers.orders.bulk_endpoint import BulkEndpoint
from handlers.orders.plain import PlainOrders
from handlers.orders.single import NewOrderExchange, OrderExchange, check_is_json
from handlers.problems.problem import Problem
from handlers.requests.body_limit import BodyLimit, is_short
from handlers.requests.early_response import AnswerBeforeBody
from handlers.requests.error_responses import ErrorResponder
from handlers.requests.request_head import RequestHead
from handlers.security.request_guard import Guard
from handlers.service import Service
from handlers.sse.metric_events import MetricEventsExchange
from handlers.sse.order_events import OrderEventsExchange
from handlers.telemetry import Telemetry
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.plain_head import PlainHead
from handlers.transport.plain_request import PlainRequest


class Router(HTTPServerConnectionDelegate):
    """Passes requests that `guard` admits to an Exchange or to `application`. Limits the length of their bodies."""

    def __init__(
        self,
        application: Application,
        *,
        service: Service,
        telemetry: Telemetry,
        guard: Guard,
        access_log: AccessLog | None,
        in_flight: InFlightRequests,
        errors: ErrorResponder,
        bulk: BulkEndpoint,
    ) -> None:
        self._application = application
        self._service = service
        self._telemetry = telemetry
        self._guard = guard
        self._access_log = access_log
        self._in_flight = in_flight
        self._errors = errors
        self._bulk = bulk

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        return _RoutingDelegate(self, server_conn, request_conn)

    def route(self, head: RequestHead) -> HTTPMessageDelegate:
        """The delegate that serves or rejects the request."""
        delegate: HTTPMessageDelegate
        path, method = head.path, head.start_line.method
        in_flight, errors, service, telemetry = self._in_flight, self._errors, self._service, self._telemetry
        try:
            self._guard.admit(head)
            if head.expects_continue and path == "/order" and method == "POST":
                check_is_json(head.headers)
        except Problem as problem:
            return BodyLimit(HTTPMessageDelegate(), head, errors=errors, problem=problem)
        finally:
            if self._access_log is not None:
                self._access_log.watch(head)
        if path == "/order" and method == "POST":
            delegate = NewOrderExchange(
                head, in_flight=in_flight, errors=errors, service=service, instruments=telemetry.instruments
            )
        elif path.startswith("/order/") and path[7:].isdecimal() and method in ("GET", "HEAD"):
            delegate = OrderExchange(head, in_flight=in_flight, errors=errors, service=service)
        elif path == "/orders" and method == "POST":
            return self._bulk.open(head)
        elif path == "/orders/events" and method == "GET":
            delegate = OrderEventsExchange(head, streams=telemetry.order_events, in_flight=in_flight, errors=errors)
        elif path == "/metrics/events" and method == "GET":
            delegate = MetricEventsExchange(head, streams=telemetry.metric_events, in_flight=in_flight, errors=errors)
        else:
            delegate = self._application.find_handler(head.as_bodyless_request())
            if head.expects_continue:
                return AnswerBeforeBody(delegate, head)
        return delegate if is_short(head.headers) else BodyLimit(delegate, head, errors=errors)


class PlainEndpoint(Protocol):
    """Serves the GET requests for one path on the plain lane."""

    def takes(self, head: PlainHead, /) -> bool:
        """Whether this object serves the request with this head, instead of Tornado."""

    def serve(self, request: PlainRequest, /) -> None:
        """See `PlainHandler.serve`."""


class PlainRouter:
    """Implements `PlainHandler`: serves the requests on the plain lane that `guard` admits.

    `endpoints` serve the GET requests for their paths, which are not paths of orders.
    """

    def __init__(self, orders: PlainOrders, endpoints: Mapping[str, PlainEndpoint], *, guard: Guard) -> None:
        self._orders = orders
        self._endpoints = endpoints
        # An attribute, not a method that calls `guard.admit`: the additional call would take 1 % of the time of a
        # request.
        self.admit: Callable[[PlainRequest], None] = guard.admit

    def takes(self, head: PlainHead) -> bool:
        """Whether the plain lane serves a request with this head. See `handlers/transport/lane.py`."""
        if self._orders.takes(head):
            return True
        endpoint = self._endpoints.get(head.path)
        return endpoint is not None and head.method == "GET" and endpoint.takes(head)

    def serve(self, request: PlainRequest) -> None:
        """Sends the response, now or later. A raised exception becomes the response."""
        (self._endpoints.get(request.head.path) or self._orders).serve(request)


class _RoutingDelegate(HTTPMessageDelegate):
    """Gets a delegate from the router when the headers have been read, and passes the request on to it."""

    def __init__(self, router: Router, server_connection: object, connection: HTTPConnection) -> None:
        self._router = router
        self._server_connection = server_connection
        self._connection = connection
        self._delegate = HTTPMessageDelegate()

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        head = RequestHead(
            server_connection=self._server_connection,
            connection=self._connection,
            start_line=cast(RequestStartLine, start_line),
            headers=headers,
        )
        if "Expect" in headers:
            head.normalize_expectation()
        self._delegate = self._router.route(head)
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._delegate.data_received(chunk)

    def finish(self) -> None:
        self._delegate.finish()

    def on_connection_close(self) -> None:
        self._delegate.on_connection_close()
