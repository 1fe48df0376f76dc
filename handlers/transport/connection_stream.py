"""The Tornado stream of one client connection. Enforces time-outs, and rejects malformed requests.

Tornado's own time-outs need a timer and a future for each request. A ConnectionStream only updates counters, and the
server calls its `check_timeouts` at intervals. Runs on the event loop.
"""

import contextlib
import math
import ssl
from asyncio import Future
from collections.abc import Awaitable
from typing import Any, cast

from tornado.httputil import HTTPConnection
from tornado.iostream import IOStream, SSLIOStream, StreamClosedError, UnsatisfiableReadError

from handlers.problems.problem import BAD_REQUEST, HEAD_TOO_LARGE, REQUEST_TIMEOUT, Problem
from handlers.transport.lingering_close import LingeringSockets
from handlers.transport.responses import last_response
from handlers.transport.timeouts import BODY_STEP_BYTES, RESPONSE_STEP_BYTES, Timeouts, Wait, WaitClock

MAX_DISCARDED_CHUNKS = 16
"""A stream without `lingering` reads and discards bytes at most this many times before it closes its socket."""

_TORNADOS_CONTINUE = b"HTTP/1.1 100 (Continue)\r\n\r\n"
_TORNADOS_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\n\r\n"
_MALFORMED = Problem(BAD_REQUEST, "The request line, a header or the framing of the body is not valid HTTP/1.1.")
_LONG_HEAD = Problem(HEAD_TOO_LARGE, "The request line and the headers are too long.")


class ConnectionStream(IOStream):
    """Closes itself when its client exceeds a time-out, and responds to malformed HTTP with an RFC 9457 problem.

    `_read_buffer`, `_read_buffer_size` and `_total_write_done_index` are private attributes of Tornado's IOStream.
    """

    def __init__(
        self,
        *arguments: Any,
        timeouts: Timeouts,
        lingering: LingeringSockets | None = None,
        received: bytes = b"",
        **options: Any,
    ) -> None:
        """`received` contains bytes that have already been read from the socket. The stream begins with these bytes.

        `lingering` performs the lingering closes of this stream: see `handlers/transport/lingering_close.py`. If
        `lingering` is None, `close` closes the socket at once.
        """
        super().__init__(*arguments, **options)
        self._read_buffer += received
        self._read_buffer_size += len(received)
        super().set_nodelay(True)
        self._timeouts = timeouts
        self._head: Future[bytes] | None = None
        self._requests = 0
        self._received_bytes = 0
        self._body_timeout_s = timeouts.body_s
        self._lingering = lingering
        self._is_lingering_close = False
        self._has_response = False
        self._is_timed_out = False
        self._clock = WaitClock()

    def check_timeouts(self, now_s: float) -> None:
        """See `TimedConnection`."""
        if self.closed():
            return
        wait = self._current_wait()
        if self._clock.has_expired(wait, now_s):
            if wait.phase in ("head", "body"):
                detail = f"The {wait.phase} did not come within {wait.timeout_s:g} seconds."
                self.reject(Problem(REQUEST_TIMEOUT, detail))
            self._is_timed_out = True
            self.close()

    def lift_body_timeout(self) -> None:
        """Removes the time-out for the body of the current request."""
        self._body_timeout_s = math.inf

    def linger_on_close(self) -> None:
        """Makes the next `close` a lingering close, so that a client that is still sending can read the response."""
        self._is_lingering_close = True

    def reject(self, problem: Problem) -> None:
        """Sends the problem, unless the request already has a response. The caller must close the stream afterwards."""
        if not self.closed() and not self._has_response:
            self._has_response = True
            self.linger_on_close()
            super().write(last_response(problem))

    def _current_wait(self) -> Wait:
        if self.writing():
            progress = self._total_write_done_index // RESPONSE_STEP_BYTES
            return Wait(self._timeouts.response_s, "response", progress=progress)
        if not self.reading():
            return Wait(math.inf, "nothing")
        if self._is_in_head():
            if self._read_buffer_size:
                return Wait(self._timeouts.head_s, "head", self._requests)
            return Wait(self._timeouts.idle_s, "request", self._requests)
        return Wait(self._body_timeout_s, "body", self._requests, self._received_bytes // BODY_STEP_BYTES)

    def _is_in_head(self) -> bool:
        return self._head is None or not self._head.done()

    def read_until_regex(self, regex: bytes, max_bytes: int | None = None) -> Awaitable[bytes]:
        # Tornado calls this method only to read request heads. After a time-out, the stream is closed, but Tornado
        # would still serve the requests in the buffer.
        if self._is_timed_out:
            raise StreamClosedError
        if self._is_lingering_close:  # the last response had `Connection: close`
            self.close()
            raise StreamClosedError
        self._requests += 1
        self._received_bytes = 0
        self._has_response = False
        self._body_timeout_s = self._timeouts.body_s
        self._head = None
        self._head = cast("Future[bytes]", super().read_until_regex(regex, max_bytes))
        return self._head

    def set_nodelay(self, value: bool) -> None:
        # TCP_NODELAY stays on, because each response is one write. Tornado would turn the option on and off for each
        # response, with two system calls.
        pass

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        count = super().read_from_fd(buf)
        if count:
            self._received_bytes += count
        return count

    def write(self, data: bytes | memoryview) -> "Future[None]":
        if data == _TORNADOS_BAD_REQUEST:
            # Tornado closes the stream after this write.
            self.linger_on_close()
            data = b"" if self._has_response else last_response(_MALFORMED)
        self._has_response = self._has_response or data != _TORNADOS_CONTINUE
        return super().write(data)

    def close(self, exc_info: Any = False) -> None:
        if isinstance(exc_info, UnsatisfiableReadError):
            # Raised if the head is too long, or if the line with the size of a body chunk is too long.
            self.reject(_LONG_HEAD if self._is_in_head() else _MALFORMED)
        if self._is_lingering_close and not self.closed():
            if self._lingering is None:
                self._discard_received()
            else:
                self._lingering.add(self.socket.fileno())
        super().close(exc_info)

    def _discard_received(self) -> None:
        scratch = bytearray(self.read_chunk_size)
        with contextlib.suppress(OSError):
            for _ in range(MAX_DISCARDED_CHUNKS):
                if not super().read_from_fd(scratch):
                    return


class TlsConnectionStream(ConnectionStream, SSLIOStream):
    """A ConnectionStream over TLS. Tornado's private `_ssl_accepting` is true until the TLS handshake has ended."""

    socket: ssl.SSLSocket

    def _current_wait(self) -> Wait:
        if self._ssl_accepting:
            return Wait(self._timeouts.handshake_s, "handshake")
        return super()._current_wait()

    def reject(self, problem: Problem) -> None:
        # No response can be sent before the TLS handshake has ended.
        if not self._ssl_accepting:
            super().reject(problem)


def lift_body_timeout(connection: HTTPConnection) -> None:
    """Removes the time-out for the request body that `connection` is reading."""
    stream = getattr(connection, "stream", None)
    if isinstance(stream, ConnectionStream):
        stream.lift_body_timeout()


def set_read_size(connection: HTTPConnection, size: int) -> int:
    """Sets how many bytes one system call reads from the socket of `connection`, and returns the previous number.

    Tornado reserves this number of bytes for each call, so it should be large only while a long body is read.
    """
    stream = getattr(connection, "stream", None)
    if not isinstance(stream, ConnectionStream):
        return size
    previous, stream.read_chunk_size = stream.read_chunk_size, size
    return previous
