"""The access log: one line per request. Runs on the event loop."""

import re
from asyncio import Future
from collections.abc import Callable
from typing import Any, Protocol, cast

from msgspec import Struct
from tornado.httputil import HTTPConnection, HTTPHeaders, RequestStartLine, ResponseStartLine

from handlers.requests.request_head import RequestHead
from handlers.transport.plain_request import PlainRequest
from handlers.transport.request_log import order_id_in

MAX_TARGET_CHARACTERS = 2_048
_NANOSECONDS_PER_US = 1_000
_US_PER_MS = 1_000
_UNSAFE = re.compile(r'[^!-~]|"')


class Access(Struct, frozen=True, gc=False):
    """One request and its response.

    - `path`: path and query as they were sent. Quotes and all characters that are not visible ASCII are
      percent-encoded.
    - `status`: None if the client disconnected before the response, or if the request timed out. The connection itself
      sends the 408 for a time-out, and the access log does not learn of this response.
    - `bytes`: length of the response's body, without the events of an event stream.
    - `ms`: milliseconds from the end of the request's headers to the end of the response.
    - `key`: the name of the API key; "-" if the request has no valid key.
    - `order_id`: the id of the order that the path names, or that `POST /order` sends. None if the request is not about
      one order, or if the order is invalid.
    """

    method: str
    path: str
    status: int | None
    bytes: int
    ms: float
    request_id: str
    client: str
    key: str
    order_id: int | None = None


class AccessSink(Protocol):
    """Receives the requests to log. `AccessLines` implements this."""

    def add(self, access: Access, /) -> None:
        """Logs the request."""


class AccessLog:
    """Logs every request, including rejected ones, when its response is complete or its connection is closed.

    `clock_ns` is monotonic, in nanoseconds.
    """

    def __init__(self, sink: AccessSink, *, clock_ns: Callable[[], int]) -> None:
        self._sink = sink
        self._clock_ns = clock_ns

    def watch(self, head: RequestHead) -> None:
        """For a request that Tornado serves: replaces `head.connection` by a wrapper that logs the request at its end.

        Must be called after RequestGuard has set `head.key_name`.
        """
        head.connection = _LoggedConnection(head, sink=self._sink, clock_ns=self._clock_ns)

    def now_ns(self) -> int:
        """The current time of `clock_ns`, for `PlainRequest.started_ns`."""
        return self._clock_ns()

    def record(self, request: PlainRequest) -> None:
        """Logs a request on the plain lane. Called when its response is sent or its client has disconnected."""
        duration_ms = _milliseconds(self._clock_ns() - request.started_ns)
        status, request_id, head = request.status, request.request_id, request.head
        access = Access(
            head.method,
            # A path on the lane needs no escapes, but can be longer than MAX_TARGET_CHARACTERS.
            head.path if len(head.path) <= MAX_TARGET_CHARACTERS else _escaped(head.path),
            status,
            request.body_bytes,
            duration_ms,
            "-" if status is None else request_id,
            request.client_address,
            request.key_name,
            request.order_id or order_id_in(head.path),
        )
        self._sink.add(access)


class _LoggedConnection(HTTPConnection):
    """Wraps a connection during one request and logs the response."""

    def __init__(self, head: RequestHead, *, sink: AccessSink, clock_ns: Callable[[], int]) -> None:
        self._connection = cast(Any, head.connection)
        # Stores only the logged parts of `head`. The head refers to this object, so a reference to the head would make
        # a reference cycle.
        self._start_line: RequestStartLine = head.start_line
        self._client, self._key = head.client_address, head.key_name
        self._subject = head.subject
        self._sink, self._clock_ns, self._started_ns = sink, clock_ns, clock_ns()
        self._status: int | None = None
        self._request_id = "-"
        self._bytes = 0
        self._is_logged = False
        self._on_close: Callable[[], object] | None = None
        self._connection.set_close_callback(self._end)
        # While Tornado reads the body, it calls only the close callback of the stream. After the body, Tornado replaces
        # that callback with one that calls the close callback of the connection.
        self._connection.stream.set_close_callback(self._end)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def write_headers(self, start_line: Any, headers: HTTPHeaders, chunk: bytes | None = None) -> "Future[None]":
        response: ResponseStartLine = start_line
        self._status = response.code
        self._request_id = headers.get("X-Request-Id", "-")
        self._bytes += len(chunk or b"")
        written: Future[None] = self._connection.write_headers(start_line, headers, chunk)
        return written

    def write(self, chunk: bytes) -> "Future[None]":
        self._bytes += len(chunk)
        written: Future[None] = self._connection.write(chunk)
        return written

    def finish(self) -> None:
        self._log_once()
        self._connection.finish()

    def set_close_callback(self, callback: Callable[[], object] | None) -> None:
        """Sets the function that is called if the client disconnects before its response is complete."""
        self._on_close = callback

    def close(self) -> None:
        self._log_once()
        self._connection.close()

    def _end(self) -> None:
        self._log_once()
        if self._on_close:
            self._on_close()

    def _log_once(self) -> None:
        if self._is_logged:
            return
        self._is_logged = True
        duration_ms = _milliseconds(self._clock_ns() - self._started_ns)
        access = Access(
            _escaped(self._start_line.method),
            _escaped(self._start_line.path),
            self._status,
            self._bytes,
            duration_ms,
            self._request_id,
            self._client,
            self._key,
            self._subject.order_id or order_id_in(self._start_line.path),
        )
        self._sink.add(access)


def _escaped(text: str) -> str:
    """Percent-encodes quotes and all characters that are not visible ASCII. Truncates a long text."""
    if len(text) > MAX_TARGET_CHARACTERS:
        text = text[:MAX_TARGET_CHARACTERS] + "..."
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", text)


def _milliseconds(duration_ns: int) -> float:
    """The duration in milliseconds, rounded to microseconds."""
    return (duration_ns + _NANOSECONDS_PER_US // 2) // _NANOSECONDS_PER_US / _US_PER_MS
