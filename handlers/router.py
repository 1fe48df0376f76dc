"""Who takes a request, once its headers are there. Runs on the event loop."""

from asyncio import Future
from collections.abc import Awaitable, Callable
from typing import cast

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

from handlers.base import ProblemHandler
from handlers.body_limit import BodyLimit, is_short
from handlers.exchange import Incoming
from handlers.order import NewOrderExchange, OrderExchange
from handlers.problems import Problem
from handlers.traffic import Traffic
from models.order import NewOrder, Order
from models.writes import Insertion


class Router(HTTPServerConnectionDelegate):
    """The two exchanges before the application, and a limit on bodies that is answered and not only enforced."""

    def __init__(
        self,
        application: Application,
        *,
        traffic: Traffic,
        admit: Callable[[Incoming], None],
        insert: Callable[[NewOrder], Future[Insertion]],
        find: Callable[[int], Future[Order | None]],
    ) -> None:
        self._application = application
        self._traffic = traffic
        self._admit = admit
        self._insert = insert
        self._find = find

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
        if path == "/order" and method == "POST":
            delegate = NewOrderExchange(incoming, traffic=self._traffic, refuse=self._refuse, insert=self._insert)
        elif path.startswith("/order/") and path[7:].isdecimal() and method in ("GET", "HEAD"):
            delegate = OrderExchange(incoming, traffic=self._traffic, refuse=self._refuse, find=self._find)
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
