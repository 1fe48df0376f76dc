"""One client's socket: how long it may keep the server waiting, and what it is told when it is cut off.

Tornado's own time-outs cost a timer and a future a request; here nothing is done while a request is served but
counting, and whoever owns the streams has them look at the clock now and then. Runs on the event loop.
"""

import contextlib
import math
import ssl
import time
from asyncio import Future
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Any, NamedTuple, cast

from tornado.httputil import HTTPConnection, format_timestamp
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream, SSLIOStream, StreamClosedError, UnsatisfiableReadError

from handlers.problems.problem import (
    BAD_REQUEST,
    CONTENT_TYPE,
    HEAD_TOO_LARGE,
    REQUEST_TIMEOUT,
    Problem,
    problem_members,
)
from handlers.transport.json_encoder import encode
from handlers.transport.lazy_io_loop import LazyIOLoop
from handlers.transport.request_ids import new_request_id

BODY_STEP_BYTES = 64 * 1024
ANSWER_STEP_BYTES = 16 * 1024
MAX_DISCARDED_CHUNKS = 16

_TORNADOS_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\n\r\n"
_NOT_HTTP = Problem(BAD_REQUEST, "The request line, a header or the framing of the body is not what HTTP/1.1 allows.")
_LONG_HEAD = Problem(HEAD_TOO_LARGE, "The request line and the headers are too long.")


class Timeouts(NamedTuple):
    """How long a client may take, in seconds."""

    handshake_s: float = 20.0
    """From the connecting to the end of TLS's handshake."""
    idle_s: float = 75.0
    """Between two requests."""
    head_s: float = 20.0
    """From the first byte of a request's head to its last."""
    body_s: float = 30.0
    """For a body, or each further `BODY_STEP_BYTES` of a longer one."""
    answer_s: float = 30.0
    """To take an answer, or each further `ANSWER_STEP_BYTES` of a longer one."""


class _Wait(NamedTuple):
    """What a client is waited for. Equal to the last one: since then it has not come on."""

    limit_s: float
    what: str
    request: int = 0
    progress: int = 0


class GuardedStream(IOStream):
    """A stream that knows whether its client is late, and that answers what is no HTTP with a problem.

    `_read_buffer_size`, `_total_write_done_index` and `_state`, the events that it listens for, are Tornado's, for its
    subclasses to know.
    """

    def __init__(self, *arguments: Any, limits: Timeouts, **options: Any) -> None:
        super().__init__(*arguments, **options)
        io_loop, self.io_loop = self.io_loop, cast(IOLoop, LazyIOLoop(self.io_loop))
        if self._state is not None:  # TLS waits for its handshake from the start
            io_loop.remove_handler(self.fileno())
            self.io_loop.add_handler(self.fileno(), self._handle_events, self._state)
        super().set_nodelay(True)
        self._limits = limits
        self._head: Future[bytes] | None = None
        self._requests = 0
        self._received_bytes = 0
        self._body_s = limits.body_s
        self._is_refused = False
        self._is_cut_off = False
        self._wait = _Wait(math.inf, "the first look")
        self._since_s = 0.0

    def check(self, now_s: float) -> None:
        """Closes the stream if its client is late; an unfinished request is answered 408.

        To be called some times within the shortest limit: how long a client takes counts from the look that first
        finds it waited for.
        """
        wait = self._waits_for()
        if wait != self._wait:
            self._wait = wait
            self._since_s = now_s
        elif now_s - self._since_s >= wait.limit_s:
            if wait.what in ("head", "body"):
                self.refuse(Problem(REQUEST_TIMEOUT, f"The {wait.what} did not come within {wait.limit_s:g} seconds."))
            self._is_cut_off = True
            self.close()

    def lift_body_limit(self) -> None:
        """The body of the request that is being read may take as long as it likes."""
        self._body_s = math.inf

    def refuse(self, problem: Problem) -> None:
        """Answers a request that nobody has taken; the stream is to be closed afterwards."""
        if not self.closed():
            self._is_refused = True
            super().write(_answer_of(problem))

    def _waits_for(self) -> _Wait:
        if self.writing():
            return _Wait(self._limits.answer_s, "answer", progress=self._total_write_done_index // ANSWER_STEP_BYTES)
        if not self.reading():
            return _Wait(math.inf, "nothing")
        if self._is_in_head():
            if self._read_buffer_size:
                return _Wait(self._limits.head_s, "head", self._requests)
            return _Wait(self._limits.idle_s, "request", self._requests)
        return _Wait(self._body_s, "body", self._requests, self._received_bytes // BODY_STEP_BYTES)

    def _is_in_head(self) -> bool:
        return self._head is None or not self._head.done()

    def read_until_regex(self, regex: bytes, max_bytes: int | None = None) -> Awaitable[bytes]:
        # Tornado reads nothing but heads by it, and goes on with those that have come when the stream is closed.
        if self._is_cut_off:
            raise StreamClosedError
        self._requests += 1
        self._received_bytes = 0
        self._body_s = self._limits.body_s
        self._head = None
        self._head = cast("Future[bytes]", super().read_until_regex(regex, max_bytes))
        return self._head

    def set_nodelay(self, value: bool) -> None:
        # On for good: answers are whole when they are written. Tornado's off and on again are two system calls each.
        pass

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        count = super().read_from_fd(buf)
        if count:
            self._received_bytes += count
        return count

    def write(self, data: bytes | memoryview) -> "Future[None]":
        if data == _TORNADOS_BAD_REQUEST:
            self._is_refused = True
            data = _answer_of(_NOT_HTTP)
        return super().write(data)

    def close(self, exc_info: Any = False) -> None:
        if isinstance(exc_info, UnsatisfiableReadError):
            # Else it is the line before a chunk.
            self.refuse(_LONG_HEAD if self._is_in_head() else _NOT_HTTP)
        if self._is_refused and not self.closed():
            self._discard()
        super().close(exc_info)

    def _discard(self) -> None:
        """Reads what has come: a close with bytes left unread is a reset, which may overtake the answer."""
        scrap = bytearray(self.read_chunk_size)
        with contextlib.suppress(OSError):
            for _ in range(MAX_DISCARDED_CHUNKS):
                if not super().read_from_fd(scrap):
                    return


class GuardedSSLStream(GuardedStream, SSLIOStream):
    """The same over TLS. `_ssl_accepting` is Tornado's: whether the handshake goes on."""

    socket: ssl.SSLSocket

    def _waits_for(self) -> _Wait:
        if self._ssl_accepting:
            return _Wait(self._limits.handshake_s, "handshake")
        return super()._waits_for()

    def refuse(self, problem: Problem) -> None:
        # Before the end of the handshake there is nobody to be told anything.
        if not self._ssl_accepting:
            super().refuse(problem)


def lift_body_limit(connection: HTTPConnection) -> None:
    """The body of the request that `connection` is reading may take as long as it likes."""
    stream = getattr(connection, "stream", None)
    if isinstance(stream, GuardedStream):
        stream.lift_body_limit()


def _answer_of(problem: Problem) -> bytes:
    # Whatever was asked for is not known here: the server as a whole has the problem.
    request_id = new_request_id()
    body = encode(problem_members(problem, instance="/", request_id=request_id))
    status = HTTPStatus(problem.kind.status)
    headers = {
        "Content-Type": CONTENT_TYPE,
        "Content-Length": str(len(body)),
        "Date": format_timestamp(time.time()),
        "X-Request-Id": request_id,
        "Connection": "close",
        **problem.headers,
    }
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body
