"""Responses that are sent before the request's body has been read completely. Runs on the event loop."""

import sys
from collections.abc import Awaitable
from typing import Any, cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine

from handlers.requests.request_head import RequestHead
from handlers.transport.connection_stream import ConnectionStream

MAX_LENGTH_DIGITS = 100
"""A Content-Length with more digits is left to Tornado, which treats it as malformed."""


def content_length(headers: HTTPHeaders) -> int | None:
    """The value of Content-Length. None if it is missing or malformed."""
    length = headers.get("Content-Length", "")
    return int(length) if len(length) <= MAX_LENGTH_DIGITS and length.isdecimal() else None


def prepare_early_response(head: RequestHead) -> None:
    """To be called before a response is sent whose request may not have been read completely.

    The response takes the place of `100 Continue`. It says that the connection will be closed. When it has been sent,
    the rest of the body is discarded for a limited time: see `handlers/transport/lingering_close.py`.
    """
    head.drop_expectation()
    if "Connection" in head.headers:  # Tornado would send Keep-Alive to an HTTP/1.0 client that asks for it
        del head.headers["Connection"]
    head.response_headers["Connection"] = "close"
    # Tornado closes the connection after the response. Until then it shall read the body, even a very long one.
    cast(HTTP1Connection, head.connection).set_max_body_size(max(sys.maxsize, content_length(head.headers) or 0))
    stream = cast(Any, head.connection).stream
    if isinstance(stream, ConnectionStream):
        stream.linger_on_close()


class AnswerBeforeBody(HTTPMessageDelegate):
    """Lets `delegate`, which ignores the body, send its response as soon as the headers have been read."""

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
        """Does nothing: the delegate has the whole request already."""

    def on_connection_close(self) -> None:
        self._delegate.on_connection_close()
