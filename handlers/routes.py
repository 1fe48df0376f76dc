"""The URL table: the one place where handlers are given their collaborators. Runs on the event loop."""

from asyncio import Future
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, cast

from tornado.http1connection import HTTP1Connection
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

from handlers.actions import ActionHandler, RetryFailedHandler
from handlers.base import NotFoundHandler, OtherMethodHandler, ProblemHandler
from handlers.exchange import Incoming, Refuse
from handlers.health import LiveHandler, ReadyHandler
from handlers.metrics import MetricsHandler
from handlers.order import NewOrderExchange, OrderExchange
from handlers.problems import TOO_LARGE, Problem
from handlers.traffic import Traffic
from models.order import NewOrder, Order, Totals
from models.writes import Insertion, Retried

MAX_BODY_BYTES = 64 * 1024
MAX_DISCARDED_BYTES = 16 * 1024 * 1024
"""A body over the limit is read to its end and thrown away, so that the client gets to read the answer; a longer one
is cut off."""
MAX_LENGTH_DIGITS = 100
"""A Content-Length with more digits is left to Tornado, which takes it for a malformed request."""


class Collaborators(NamedTuple):
    """What the handlers work with. Times: `clock` in microseconds since 1970, `uptime_s` in seconds."""

    traffic: Traffic
    insert: Callable[[NewOrder], Future[Insertion]]
    find: Callable[[int], Future[Order | None]]
    cancel: Callable[[int], Awaitable[Order | None]]
    retry: Callable[[int], Awaitable[Order | None]]
    retry_failed: Callable[[int], Awaitable[Retried]]
    totals: Callable[[], Awaitable[Totals]]
    check_storage: Callable[[], Awaitable[None]]
    rates: Callable[[Totals], tuple[float, float]]
    clock: Callable[[], int]
    uptime_s: Callable[[], float]


def build_router(given: Collaborators) -> HTTPServerConnectionDelegate:
    """What Tornado's HTTPServer serves."""
    everywhere: dict[str, Any] = {"traffic": given.traffic}
    metrics = {"totals": given.totals, "rates": given.rates, "clock": given.clock, "uptime_s": given.uptime_s}
    application = Application(
        [
            # The methods that these two know are served by the router.
            (r"/order", OtherMethodHandler, everywhere | {"allowed": ("POST",)}),
            (r"/order/[0-9]+", OtherMethodHandler, everywhere | {"allowed": ("GET", "HEAD")}),
            (r"/order/([0-9]+)/cancel", ActionHandler, everywhere | {"act": given.cancel}),
            (r"/order/([0-9]+)/retry", ActionHandler, everywhere | {"act": given.retry}),
            (r"/orders/retry", RetryFailedHandler, everywhere | {"retry_failed": given.retry_failed}),
            (r"/metrics", MetricsHandler, everywhere | metrics),
            (r"/livez", LiveHandler, everywhere),
            (r"/readyz", ReadyHandler, everywhere | {"check_storage": given.check_storage}),
        ],
        default_handler_class=NotFoundHandler,
        default_handler_args=everywhere,
        log_function=lambda handler: None,
    )
    return _Router(application, given)


class _Router(HTTPServerConnectionDelegate):
    """The two exchanges before the application, and a limit on bodies that is answered and not only enforced."""

    def __init__(self, application: Application, given: Collaborators) -> None:
        self._application = application
        self._traffic = given.traffic
        self._insert = given.insert
        self._find = given.find

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        return _Routed(self, server_conn, request_conn)

    def route(self, incoming: Incoming) -> HTTPMessageDelegate:
        """Who takes the request."""
        delegate: HTTPMessageDelegate
        path, method = incoming.path, incoming.start_line.method
        if path == "/order" and method == "POST":
            delegate = NewOrderExchange(incoming, traffic=self._traffic, refuse=self._refuse, insert=self._insert)
        elif path.startswith("/order/") and path[7:].isdecimal() and method in ("GET", "HEAD"):
            delegate = OrderExchange(incoming, traffic=self._traffic, refuse=self._refuse, find=self._find)
        else:
            delegate = self._application.find_handler(_without_form(incoming))
        length = incoming.headers.get("Content-Length")
        if length is None:
            is_short = "Transfer-Encoding" not in incoming.headers
        else:
            is_short = len(length) < 10 and length.isdecimal() and int(length) <= MAX_BODY_BYTES
        return delegate if is_short else _BodyLimit(delegate, incoming, self._refuse)

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

    def __init__(self, router: _Router, server_connection: object, connection: HTTPConnection) -> None:
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


class _BodyLimit(HTTPMessageDelegate):
    """Passes a request on, or refuses it if its body turns out to be longer than `MAX_BODY_BYTES`."""

    def __init__(
        self,
        delegate: HTTPMessageDelegate,
        incoming: Incoming,
        refuse: Refuse,
    ) -> None:
        self._delegate = delegate
        self._incoming = incoming
        self._refuse = refuse
        self._left_bytes = MAX_BODY_BYTES
        self._is_refused = False

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        length = headers.get("Content-Length", "")
        if length.isdecimal() and len(length) <= MAX_LENGTH_DIGITS and int(length) > MAX_DISCARDED_BYTES:
            # Tornado, which would cut the connection for this length without an answer, is told to read on; it closes
            # once the answer is sent.
            cast(HTTP1Connection, self._incoming.connection).set_max_body_size(int(length))
            self._refuse_unread()
            return None
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._left_bytes -= len(chunk)
        if self._left_bytes >= 0:
            return self._delegate.data_received(chunk)
        if self._left_bytes < -MAX_DISCARDED_BYTES:
            self._refuse_unread()
        return None

    def finish(self) -> None:
        if self._left_bytes >= 0 and not self._is_refused:
            self._delegate.finish()
        else:
            self._refuse_once({})

    def on_connection_close(self) -> None:
        self._delegate.on_connection_close()

    def _refuse_unread(self) -> None:
        """Answers here and now; what else comes on this connection is not read."""
        self._refuse_once({"Connection": "close"})

    def _refuse_once(self, headers: dict[str, str]) -> None:
        if not self._is_refused:
            self._is_refused = True
            detail = f"The body of one request is at most {MAX_BODY_BYTES} bytes."
            self._refuse(self._incoming, Problem(TOO_LARGE, detail, headers=headers))
