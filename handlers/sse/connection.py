"""An answer of Server-Sent Events that goes on until one side ends it. Lives on the event loop.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
import socket
import time
from collections.abc import Callable
from typing import cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, format_timestamp
from tornado.iostream import StreamClosedError

from handlers.transport.exchange import OK
from handlers.transport.request_head import RequestHead
from handlers.transport.request_ids import request_id_for

SEND_BUFFER_BYTES = 256 * 1024
"""What the system may hold for a reader; its own limit is many times that."""
RETRY_MS = 1_000
"""When a browser comes back after its connection was lost."""
STALLED_S = 30.0
"""A reader that has not taken what it was sent for this long is to be dropped."""


def framed(text: bytes) -> bytes:
    """The text as a chunk of a body (RFC 9112 §7.1)."""
    return b"%x\r\n%b\r\n" % (len(text), text)


class SseConnection:
    """Writes what it is told to, and knows whether that has been taken: it has no queue.

    `forget` is called once the connection is closed. `clock` is monotonic, in seconds.
    """

    def __init__(self, head: RequestHead, *, forget: Callable[[], None], clock: Callable[[], float]) -> None:
        self.is_busy = False
        """Whether something that was written is still on its way. Until then nothing else may be written."""
        self.written_s = clock()
        self._forget = forget
        self._clock = clock
        self._head = head
        self._connection = cast(HTTP1Connection, head.connection)
        # HTTP/1.0 knows no chunks: there the end of the connection ends the body.
        self._is_chunked = head.start_line.version == "HTTP/1.1"

    @property
    def is_closed(self) -> bool:
        return self._connection.stream.closed()

    def is_stalled(self, now_s: float) -> bool:
        """Whether it has been busy for too long."""
        return self.is_busy and now_s - self.written_s >= STALLED_S

    def start(self, greeting: bytes, chunk: bytes | None = None) -> None:
        """Answers, and writes the first events; `chunk` is these framed, where many are to have them."""
        stream = self._connection.stream
        if stream.closed():
            self._forget()
            return
        headers = HTTPHeaders(self._head.answer_headers)
        headers["Content-Type"] = "text/event-stream"
        headers["Cache-Control"] = "no-store"
        # nginx would keep events back: https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering
        headers["X-Accel-Buffering"] = "no"
        headers["Date"] = format_timestamp(time.time())
        headers["X-Request-Id"] = request_id_for(self._head.headers)
        if not self._is_chunked:
            headers["Connection"] = "close"
            # Else Tornado would grant a client's "keep-alive".
            self._head.headers["Connection"] = "close"
        self._connection.set_close_callback(self._forget)
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        stream.set_nodelay(True)
        self._connection.write_headers(OK, headers)
        self.write(greeting, chunk)
        if not self.is_busy:
            self.go_on()
        if stream.closed():  # by a write: too early for the callback to be called
            self._forget()

    def write(self, text: bytes, chunk: bytes | None = None) -> None:
        """Writes events; only while it is not busy. `chunk` is the text framed, where many are to have it."""
        try:
            written = self._connection.stream.write((chunk or framed(text)) if self._is_chunked else text)
        except StreamClosedError:  # its close callback is on its way
            return
        self.written_s = self._clock()
        if not written.done():
            self.is_busy = True
            written.add_done_callback(self._on_written)

    def go_on(self) -> None:
        """Called when everything that was written has been taken."""
        self.is_busy = False

    def end(self) -> None:
        """Ends the answer as it should; one that does not take what it was sent is dropped."""
        if self.is_busy:
            self.drop()
        else:
            self._connection.finish()
            if not self._is_chunked:
                self._connection.close()
            self._forget()

    def drop(self) -> None:
        """Closes the connection: it may come back."""
        self._connection.close()
        self._forget()

    def _on_written(self, written: "asyncio.Future[None]") -> None:
        if written.cancelled() or written.exception():
            return
        self.go_on()
