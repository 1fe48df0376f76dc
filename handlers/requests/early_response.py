"""Responses that are sent before the request body has been read completely. Runs on the event loop."""

import sys
from collections.abc import Awaitable
from typing import Any, cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine

from handlers.requests.request_head import RequestHead
from handlers.transport.connection_stream import ConnectionStream

MAX_LENGTH_DIGITS = 100
"""`content_length` ignores a value with more digits. Tornado rejects a request with such a value as malformed."""


def content_length(headers: HTTPHeaders) -> int | None:
    """The value of Content-Length. None if the header is missing, malformed or longer than `MAX_LENGTH_DIGITS`."""
    length = headers.get("Content-Length", "")
    return int(length) if len(length) <= MAX_LENGTH_DIGITS and length.isdecimal() else None


def prepare_early_response(head: RequestHead) -> None:
    """Must be called before a response is sent while part of the request body is possibly unread.

    The client gets no `100 Continue`, and the response has `Connection: close`. After the response, the rest of the
    body is discarded for a limited time: see `handlers/transport/lingering_close.py`.
    """
    head.drop_expectation()
    if "Connection" in head.headers:  # otherwise Tornado would send Keep-Alive to an HTTP/1.0 client that asks for it
        del head.headers["Connection"]
    head.response_headers["Connection"] = "close"
    # Tornado reads the body until the response is sent, and must not reject a very long body.
    cast(HTTP1Connection, head.connection).set_max_body_size(max(sys.maxsize, content_length(head.headers) or 0))
    stream = cast(Any, head.connection).stream
    if isinstance(stream, ConnectionStream):
        stream.linger_on_close()


class AnswerBeforeBody(HTTPMessageDelegate):
    """Makes `delegate` respond as soon as the headers have been read. `delegate` must not need the body."""

    def __init__(self, delegate: HTTPMessageDelegate, head: RequestHead) -> None:
        self._delegate = delegate
        self._head = head

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        prepare_early_response(self._head)
        self._delegate.headers_received(start_line, headers)
        self._delegate.finish()
        return None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return None

    def finish(self) -> None:
        """Does nothing: `headers_received` has already called `delegate.finish`."""

    def on_connection_close(self) -> None:
        self._delegate.on_connection_close()
