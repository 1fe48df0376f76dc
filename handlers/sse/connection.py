"""A streaming response with Server-Sent Events. A reader is the client of such a response. Runs on the event loop.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, format_timestamp
from tornado.iostream import IOStream, StreamClosedError

from handlers.requests.exchange import OK
from handlers.requests.request_head import RequestHead
from handlers.transport.request_ids import request_id_for

SEND_BUFFER_BYTES = 256 * 1024
"""The size of the kernel's send buffer for each reader. By default, this buffer could grow to many times this size."""
RETRY_MS = 1_000
"""How long a browser waits before it reconnects."""
STALL_TIMEOUT_S = 30.0
"""A reader is disconnected if the last write has not been sent completely after this time."""

Reader_contra = TypeVar("Reader_contra", contravariant=True)


class ReaderSet(Protocol[Reader_contra]):
    """The readers of an event stream whose connections are open."""

    def discard(self, reader: Reader_contra, /) -> None:
        """Removes a reader whose connection is closed, if it has not been removed yet."""


def as_chunk(text: bytes) -> bytes:
    """The text as a chunk of a chunked body (RFC 9112 §7.1)."""
    return b"%x\r\n%b\r\n" % (len(text), text)


class SseConnection:
    """The connection to one reader. This object has no queue: a write is allowed only when the previous write has been
    sent.

    When the connection is closed, this object removes itself from `readers`. `clock` is monotonic, in seconds.
    """

    def __init__(self, head: RequestHead, *, readers: ReaderSet[Any], clock: Callable[[], float]) -> None:
        self.is_busy = False
        """Whether part of the last write is still unsent. While this is True, nothing else may be written."""
        self.last_write_s = clock()
        self._readers = readers
        self._clock = clock
        self._head = head
        self._connection = cast(HTTP1Connection, head.connection)
        # HTTP/1.0 has no chunks: its body ends when the connection is closed.
        self._is_chunked = head.start_line.version == "HTTP/1.1"

    @property
    def stream(self) -> IOStream:
        """The stream that the events are written to."""
        return self._connection.stream

    @property
    def is_closed(self) -> bool:
        return self._connection.stream.closed()

    def is_stalled(self, now_s: float) -> bool:
        """Whether the last write has been unsent, at least in part, for `STALL_TIMEOUT_S`."""
        return self.is_busy and now_s - self.last_write_s >= STALL_TIMEOUT_S

    def start(self, first_events: bytes, chunk: bytes | None = None) -> None:
        """Sends the headers and the first events.

        `chunk` is `as_chunk(first_events)`, if the caller has already computed it for many readers.
        """
        stream = self._connection.stream
        if stream.closed():
            self._on_close()
            return
        headers = HTTPHeaders(self._head.response_headers)
        headers["Content-Type"] = "text/event-stream"
        headers["Cache-Control"] = "no-store"
        # Turns off nginx's response buffering: https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering
        headers["X-Accel-Buffering"] = "no"
        headers["Date"] = format_timestamp(time.time())
        headers["X-Request-Id"] = request_id_for(self._head.header("X-Request-Id"))
        if not self._is_chunked:
            headers["Connection"] = "close"
            # Without this header, Tornado would respond with "keep-alive" to a client that asks for it.
            self._head.headers["Connection"] = "close"
        self._connection.set_close_callback(self._on_close)
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        stream.set_nodelay(True)
        self._connection.write_headers(OK, headers)
        self.write(first_events, chunk)
        if not self.is_busy:
            self.write_completed()
        if stream.closed():  # the write failed before Tornado could call the callback
            self._on_close()

    def write(self, text: bytes, chunk: bytes | None = None) -> None:
        """Writes events. Must not be called while `is_busy`.

        `chunk` is `as_chunk(text)`, if the caller has already computed it.
        """
        try:
            written = self._connection.stream.write((chunk or as_chunk(text)) if self._is_chunked else text)
        except StreamClosedError:  # Tornado calls the close callback
            return
        self.last_write_s = self._clock()
        if not written.done():
            self.is_busy = True
            written.add_done_callback(self._on_written)

    def write_completed(self) -> None:
        """Called when everything that was written has been sent."""
        self.is_busy = False

    def finish(self) -> None:
        """Ends the response. If the last write is not completely sent, closes the connection instead."""
        if self.is_busy:
            self.close()
        else:
            self._connection.finish()
            if not self._is_chunked:
                self._connection.close()
            self._on_close()

    def close(self) -> None:
        """Closes the connection without ending the response, so that a browser reconnects."""
        self._connection.close()
        self._on_close()

    def _on_close(self) -> None:
        self._readers.discard(self)

    def _on_written(self, written: "asyncio.Future[None]") -> None:
        if written.cancelled() or written.exception():
            return
        self.write_completed()
