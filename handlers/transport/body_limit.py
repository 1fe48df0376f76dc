"""How long a request's body may be, and what becomes of a longer one. Runs on the event loop."""

from collections.abc import Awaitable
from typing import cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine

from handlers.problems.problem import TOO_LARGE, Problem
from handlers.transport.exchange import Refuse
from handlers.transport.request_head import RequestHead

MAX_BODY_BYTES = 64 * 1024
MAX_DISCARDED_BYTES = 16 * 1024 * 1024
"""A body over the limit is read to its end and thrown away, so that the client gets to read the answer; a longer one
is cut off."""
MAX_LENGTH_DIGITS = 100
"""A Content-Length with more digits is left to Tornado, which takes it for a malformed request."""


def is_short(headers: HTTPHeaders) -> bool:
    """Whether the headers say that the body is no longer than `MAX_BODY_BYTES`."""
    length = headers.get("Content-Length")
    if length is None:
        return "Transfer-Encoding" not in headers
    return len(length) < 10 and length.isdecimal() and int(length) <= MAX_BODY_BYTES


class BodyLimit(HTTPMessageDelegate):
    """Passes a request on, or refuses it if its body turns out to be longer than `limit_bytes`.

    With a `problem`, it is refused whatever its body is.
    """

    def __init__(
        self,
        delegate: HTTPMessageDelegate,
        head: RequestHead,
        *,
        refuse: Refuse,
        limit_bytes: int = MAX_BODY_BYTES,
        problem: Problem | None = None,
    ) -> None:
        self._delegate = delegate
        self._head = head
        self._refuse = refuse
        self._left_bytes = limit_bytes if problem is None else -1
        self._problem = problem or Problem(TOO_LARGE, f"The body of one request is at most {limit_bytes} bytes.")
        self._is_refused = False

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        length = headers.get("Content-Length", "")
        if length.isdecimal() and len(length) <= MAX_LENGTH_DIGITS and int(length) > MAX_DISCARDED_BYTES:
            # Tornado, which would cut the connection for this length without an answer, is told to read on; it closes
            # once the answer is sent.
            cast(HTTP1Connection, self._head.connection).set_max_body_size(int(length))
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
            self._refuse_once()

    def on_connection_close(self) -> None:
        self._delegate.on_connection_close()

    def _refuse_unread(self) -> None:
        """Answers here and now; what else comes on this connection is not read."""
        self._problem.headers["Connection"] = "close"
        self._refuse_once()

    def _refuse_once(self) -> None:
        if not self._is_refused:
            self._is_refused = True
            # It will not get to the end of this request.
            self._delegate.on_connection_close()
            self._delegate = HTTPMessageDelegate()
            self._refuse(self._head, self._problem)
