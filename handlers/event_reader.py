"""One reader of the events: its connection, and its place in the log. Lives on the event loop."""

import asyncio
import socket
import time
from collections.abc import Callable
from typing import cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, format_timestamp
from tornado.iostream import StreamClosedError

from handlers.base import request_id_of
from handlers.event_log import EventLog, Interest
from handlers.exchange import OK, Incoming

MAX_WRITE_BYTES = 64 * 1024
"""What this process holds for a reader that goes on from the log and takes nothing more."""
SEND_BUFFER_BYTES = 256 * 1024
"""What the system may hold for a reader; its own limit is many times that."""


def framed(text: bytes) -> bytes:
    """The text as a chunk of a body (RFC 9112 §7.1)."""
    return b"%x\r\n%b\r\n" % (len(text), text)


class EventReader:
    """Has what is written to it at once, or goes on from its place in the log when it has taken what it was sent.

    `forget` is called once the connection is closed. `clock` is monotonic, in seconds.
    """

    def __init__(
        self,
        incoming: Incoming,
        *,
        interest: Interest,
        log: EventLog,
        position: int,
        forget: Callable[["EventReader"], None],
        clock: Callable[[], float],
    ) -> None:
        self.interest = interest
        self.is_busy = False
        """Whether something that was written is still on its way."""
        self.written_s = clock()
        self._position = position
        self._log = log
        self._forget = forget
        self._clock = clock
        self._incoming = incoming
        self._connection = cast(HTTP1Connection, incoming.connection)
        # HTTP/1.0 knows no chunks: there the end of the connection ends the body.
        self._is_chunked = incoming.start_line.version == "HTTP/1.1"

    @property
    def is_left_behind(self) -> bool:
        """Whether the log does not reach back to its place any more."""
        return self.is_busy and self._position < self._log.first

    def start(self, greeting: bytes) -> None:
        """Answers, and sends what its place in the log says it has missed."""
        stream = self._connection.stream
        if stream.closed():
            self._forget(self)
            return
        headers = HTTPHeaders(self._incoming.answer_headers)
        headers["Content-Type"] = "text/event-stream"
        headers["Cache-Control"] = "no-store"
        # nginx would keep events back: https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering
        headers["X-Accel-Buffering"] = "no"
        headers["Date"] = format_timestamp(time.time())
        headers["X-Request-Id"] = request_id_of(self._incoming.headers)
        if not self._is_chunked:
            headers["Connection"] = "close"
            # Else Tornado would grant a client's "keep-alive".
            self._incoming.headers["Connection"] = "close"
        self._connection.set_close_callback(lambda: self._forget(self))
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        stream.set_nodelay(True)
        self._connection.write_headers(OK, headers)
        self._send(greeting, None)
        if not self.is_busy:
            self._go_on()
        if stream.closed():  # by a write: too early for the callback to be called
            self._forget(self)

    def tell(self, text: bytes, chunk: bytes | None = None) -> None:
        """Sends events, after which it has everything that is in the log; only for a reader that is not busy.

        `chunk` is the text framed, where many are to have it.
        """
        self._position = self._log.end
        self._send(text, chunk)

    def end(self) -> None:
        """Ends the answer as it should; one that does not take what it was sent is dropped."""
        if self.is_busy:
            self.drop()
        else:
            self._connection.finish()
            if not self._is_chunked:
                self._connection.close()
            self._forget(self)

    def drop(self) -> None:
        """Closes the connection: it may come back, and ask for what it has missed."""
        self._connection.close()
        self._forget(self)

    def _send(self, text: bytes, chunk: bytes | None) -> None:
        try:
            written = self._connection.stream.write((chunk or framed(text)) if self._is_chunked else text)
        except StreamClosedError:  # its close callback is on its way
            return
        self.written_s = self._clock()
        if not written.done():
            self.is_busy = True
            written.add_done_callback(self._on_written)

    def _on_written(self, written: "asyncio.Future[None]") -> None:
        if written.cancelled() or written.exception():
            return
        self._go_on()

    def _go_on(self) -> None:
        self.is_busy = False
        if self._connection.stream.closed():
            return
        if self._position < self._log.first:
            self.drop()
            return
        text, self._position = self._log.since(self._position, self.interest, max_bytes=MAX_WRITE_BYTES)
        if text:
            self._send(text, None)
        if not self.is_busy and self._position < self._log.end:
            # Others have their turn in between: many may come back at once.
            self.is_busy = True
            asyncio.get_running_loop().call_soon(self._go_on)
