"""Limits the length of request bodies, and discards the bodies of rejected requests. Runs on the event loop."""

from collections.abc import Awaitable

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine

from handlers.problems.problem import TOO_LARGE, Problem
from handlers.requests.early_response import content_length, prepare_early_response
from handlers.requests.error_responses import ErrorResponder
from handlers.requests.request_head import RequestHead
from handlers.transport.lane import MAX_BODY_BYTES

MAX_DISCARDED_BYTES = 16 * 1024 * 1024
"""If the body of a rejected request is at most this long, it is discarded, and the connection stays open. If the body
is longer, the response is sent before the end of the body, and the connection is closed."""
MAX_BUFFERED_BYTES = 64 * 1024 * 1024
"""By default, all `POST /orders` requests together buffer at most this many bytes of JSON arrays, and at most this many
bytes of NDJSON lines."""


def is_short(headers: HTTPHeaders) -> bool:
    """Whether the headers show that the body has at most `MAX_BODY_BYTES` bytes."""
    length = headers.get("Content-Length")
    if length is None:
        return "Transfer-Encoding" not in headers
    return len(length) < 10 and length.isdecimal() and int(length) <= MAX_BODY_BYTES


class BodyLimit(HTTPMessageDelegate):
    """Passes a request on to `delegate`, or rejects the request with 413 if its body is longer than `limit_bytes`.

    If `problem` is given, the request is always rejected with this problem.

    Usually the rejection is sent when the body has been read and discarded. The rejection is sent earlier if the body
    is longer than `MAX_DISCARDED_BYTES`, or if the client waits for `100 Continue` and the headers already require a
    rejection.
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
        length = content_length(headers) or 0
        if length > MAX_DISCARDED_BYTES or (self._head.expects_continue and length > self._remaining_bytes):
            self._refuse_early()
            return None
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._remaining_bytes -= len(chunk)
        if self._is_refused:
            return None
        if self._remaining_bytes >= 0:
            return self._delegate.data_received(chunk)
        if self._remaining_bytes < -MAX_DISCARDED_BYTES:
            self._refuse_early()
        return None

    def finish(self) -> None:
        if self._is_refused:
            return
        if self._remaining_bytes >= 0:
            self._delegate.finish()
        else:
            self._refuse()

    def on_connection_close(self) -> None:
        if not self._is_refused:
            self._delegate.on_connection_close()

    def _refuse_early(self) -> None:
        prepare_early_response(self._head)
        self._refuse()

    def _refuse(self) -> None:
        self._is_refused = True
        # Lets the delegate clean up. The delegate gets no more data of this request, and no call of `finish`.
        self._delegate.on_connection_close()
        self._errors.respond(self._head, self._problem)
