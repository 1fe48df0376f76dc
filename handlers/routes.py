"""The URL table: the one place where handlers are given their collaborators."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest, RequestStartLine, ResponseStartLine
from tornado.routing import Router
from tornado.web import Application

from handlers.base import NotFoundHandler, Traffic
from handlers.health import LiveHandler, ReadyHandler
from handlers.metrics import MetricsHandler
from handlers.order import MAX_BODY_BYTES, NewOrderHandler, OrderHandler, TooLargeHandler
from models.order import Insertion, NewOrder, Order, Totals

MAX_DISCARDED_BYTES = 16 * 1024 * 1024
"""A body over the limit is read to its end and thrown away, so that the client gets to read the answer; a longer one
is cut off."""


class Collaborators(NamedTuple):
    """What the handlers work with. Times: `clock` in microseconds since 1970, `uptime_s` in seconds."""

    traffic: Traffic
    insert: Callable[[NewOrder], Awaitable[Insertion]]
    find: Callable[[int], Awaitable[Order | None]]
    totals: Callable[[], Awaitable[Totals]]
    probe: Callable[[], Awaitable[None]]
    rates: Callable[[Totals], tuple[float, float]]
    clock: Callable[[], int]
    uptime_s: Callable[[], float]


def build_router(given: Collaborators) -> Router:
    """What Tornado's HTTPServer serves."""
    everywhere: dict[str, Any] = {"traffic": given.traffic}
    metrics = {"totals": given.totals, "rates": given.rates, "clock": given.clock, "uptime_s": given.uptime_s}
    application = Application(
        [
            (r"/order", NewOrderHandler, everywhere | {"insert": given.insert}),
            (r"/order/([0-9]+)", OrderHandler, everywhere | {"find": given.find}),
            (r"/metrics", MetricsHandler, everywhere | metrics),
            (r"/livez", LiveHandler, everywhere),
            (r"/readyz", ReadyHandler, everywhere | {"probe": given.probe}),
        ],
        default_handler_class=NotFoundHandler,
        default_handler_args=everywhere,
        log_function=lambda handler: None,
    )
    return _BodyLimitRouter(application, everywhere)


class _BodyLimitRouter(Router):
    """The application, with a limit on bodies that is answered and not only enforced."""

    def __init__(self, application: Application, everywhere: dict[str, Any]) -> None:
        self._application = application
        self._everywhere = everywhere

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate:
        delegate = self._application.find_handler(request, **kwargs)
        length = request.headers.get("Content-Length", "")
        if length and len(length) < 10 and length.isdecimal() and int(length) <= MAX_BODY_BYTES:
            return delegate
        if not length and "Transfer-Encoding" not in request.headers:
            return delegate
        too_large = self._application.get_handler_delegate(request, TooLargeHandler, self._everywhere)
        return _BodyLimit(delegate, too_large, request)


class _BodyLimit(HTTPMessageDelegate):
    """Hands the request to `too_large` instead if its body turns out to be longer than `MAX_BODY_BYTES`."""

    def __init__(
        self, delegate: HTTPMessageDelegate, too_large: HTTPMessageDelegate, request: HTTPServerRequest
    ) -> None:
        self._delegate = delegate
        self._too_large = too_large
        self._request = request
        self._left_bytes = MAX_BODY_BYTES

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        length = headers.get("Content-Length", "")
        if length.isdecimal() and int(length[:20]) > MAX_DISCARDED_BYTES:
            # Answered here and now. Tornado, which would cut the connection for this length without an answer, is told
            # to read on; it closes once the answer is sent.
            cast(HTTP1Connection, self._request.connection).set_max_body_size(int(length[:20]))
            self._left_bytes = -1
            self.finish()
            return None
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._left_bytes -= len(chunk)
        return self._delegate.data_received(chunk) if self._left_bytes >= 0 else None

    def finish(self) -> None:
        (self._delegate if self._left_bytes >= 0 else self._too_large).finish()

    def on_connection_close(self) -> None:
        self._delegate.on_connection_close()
