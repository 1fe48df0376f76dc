"""Limits the length of request bodies, and discards or rejects the rest of a longer one. Runs on the event loop."""

from collections.abc import Awaitable
from typing import cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine

from handlers.problems.problem import TOO_LARGE, Problem
from handlers.transport.error_responses import ErrorResponder
from handlers.transport.request_head import RequestHead

MAX_BODY_BYTES = 64 * 1024
MAX_DISCARDED_BYTES = 16 * 1024 * 1024
"""The rest of a body over the limit is read and discarded up to this length, so that the client can read the response.
A longer one closes the connection."""
MAX_BUFFERED_BYTES = 64 * 1024 * 1024
"""All bodies together that are buffered and longer than `MAX_BODY_BYTES`: those of arrays of orders."""
MAX_LENGTH_DIGITS = 100
"""A Content-Length with more digits is left to Tornado, which treats it as malformed."""


def is_short(headers: HTTPHeaders) -> bool:
    """Whether the headers say that the body is no longer than `MAX_BODY_BYTES`."""
    length = headers.get("Content-Length")
    if length is None:
        return "Transfer-Encoding" not in headers
    return len(length) < 10 and length.isdecimal() and int(length) <= MAX_BODY_BYTES


class BodyLimit(HTTPMessageDelegate):
    """Passes a request on to `delegate`, or sends 413 if its body is longer than `limit_bytes`.

    If `problem` is given, it is sent regardless of the body's length, and the body is discarded.
    """

    def __init__(
        self,
        delegate: HTTPMessageDelegate,
        head: RequestHead,
        *,
        errors: ErrorResponder,
        limit_bytes: int = MAX_BODY_BYTES,
        problem: Problem | None = None,
    ) -> None:
        self._delegate = delegate
        self._head = head
        self._errors = errors
        self._remaining_bytes = limit_bytes if problem is None else -1
        self._problem = problem or Problem(TOO_LARGE, f"The body of one request is at most {limit_bytes} bytes.")
        self._is_refused = False

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        length = headers.get("Content-Length", "")
        if length.isdecimal() and len(length) <= MAX_LENGTH_DIGITS and int(length) > MAX_DISCARDED_BYTES:
            # Tornado would close the connection without a response. With this limit it reads on, and closes the
            # connection once the response is sent.
            cast(HTTP1Connection, self._head.connection).set_max_body_size(int(length))
            self._refuse_and_close()
            return None
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._remaining_bytes -= len(chunk)
        if self._remaining_bytes >= 0:
            return self._delegate.data_received(chunk)
        if self._remaining_bytes < -MAX_DISCARDED_BYTES:
            self._refuse_and_close()
        return None

    def finish(self) -> None:
        if self._remaining_bytes >= 0 and not self._is_refused:
            self._delegate.finish()
        else:
            self._refuse()

    def on_connection_close(self) -> None:
        self._delegate.on_connection_close()

    def _refuse_and_close(self) -> None:
        """Sends the problem before the body has been read, and closes the connection."""
        self._problem.headers["Connection"] = "close"
        self._refuse()

    def _refuse(self) -> None:
        if not self._is_refused:
            self._is_refused = True
            # The delegate gets neither the rest of this request nor its end.
            self._delegate.on_connection_close()
            self._delegate = HTTPMessageDelegate()
            self._errors.respond(self._head, self._problem)
