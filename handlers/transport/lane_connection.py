"""A connection on the plain lane (`handlers/transport/lane.py`), as an asyncio.Protocol. Runs on the event loop."""

import asyncio
import math
import socket
from collections.abc import Callable
from typing import Any, cast

from handlers.problems.problem import REQUEST_TIMEOUT, Problem
from handlers.transport.lane import MAX_BODY_BYTES, Lane, LaneServer
from handlers.transport.lane_exits import begin_lingering_close, hand_over, reject
from handlers.transport.plain_head import MAX_HEAD_BYTES, read_plain_head
from handlers.transport.plain_request import PlainRequest
from handlers.transport.responses import last_response
from handlers.transport.timeouts import RESPONSE_STEP_BYTES, Timeouts, Wait, WaitClock

MAX_BUFFERED_BYTES = MAX_HEAD_BYTES + MAX_BODY_BYTES
"""A connection pauses reading while more than this many received bytes are not served. No request on the lane is
longer."""


class LaneConnection(asyncio.Protocol):
    """One client connection. Serves its requests one at a time, in the order of arrival."""

    __slots__ = (
        "_address",
        "_clock",
        "_data",
        "_end",
        "_has_eof",
        "_is_read_scheduled",
        "_is_reading_paused",
        "_is_writing_paused",
        "_lane",
        "_more",
        "_needed",
        "_refusal",
        "_request",
        "_requests",
        "_server",
        "_timeouts",
        "_transport",
    )

    def __init__(self, lane: Lane, *, server: LaneServer, timeouts: Timeouts) -> None:
        self._lane = lane
        self._server = server
        self._timeouts = timeouts
        self._clock = WaitClock()
        self._request: PlainRequest | None = None
        """The request that is being read or served."""
        self._needed = 0
        """The length of the current request in bytes while it is being read, otherwise 0."""
        self._refusal: Exception | None = None
        """The error to respond with, if the current request must be rejected."""
        self._data = b""
        """Received bytes that have not been served. The bytes in `_more` were received after these bytes."""
        self._more: bytearray | None = None
        """Bytes received after `_data`, to which they are appended before the next request is read."""
        self._is_reading_paused = False
        self._is_writing_paused = False
        """Whether the transport has called `pause_writing`, because the client reads too slowly."""
        self._is_read_scheduled = False
        """Whether the next request is read in the next iteration of the event loop."""
        self._has_eof = False
        """Whether the client sends no more. The connection is then closed after the last response."""
        self._end: Callable[[], None] | None = None
        """Called when all responses are sent: hands the connection over to Tornado, or closes it."""
        self._address: tuple[Any, ...] = ("",)
        self._requests = 0

    # Called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # `peername` is None if the client has already disconnected.
        self._address = transport.get_extra_info("peername") or self._address
        if problem := self._server.connection_opened(self):
            reject(self._transport, problem)

    def data_received(self, data: bytes) -> None:
        if not self._data and not self._more:
            self._data = data
            buffered = len(data)
        else:
            if self._more is None:
                self._more = bytearray()
            self._more += data
            buffered = len(self._data) + len(self._more)
        is_ready = (self._request is None and self._end is None) or 0 < self._needed <= buffered
        if is_ready and not self._is_writing_paused and not self._is_read_scheduled:
            self._read_next()
        elif buffered > MAX_BUFFERED_BYTES:
            self._pause_reading()

    def eof_received(self) -> bool:
        # A client can close its sending side and still read its responses.
        self._has_eof = not self._needed and bool(self._request or self._data or self._more)
        return self._has_eof

    def pause_writing(self) -> None:
        self._is_writing_paused = True

    def resume_writing(self) -> None:
        self._is_writing_paused = False
        if self._end is None:
            self._read_next()
        else:
            self._end()

    def connection_lost(self, error: Exception | None) -> None:
        self._server.connection_lost(self)
        self._data, self._more = b"", None
        if self._request is not None and self._lane.recorder is not None:
            self._lane.recorder.record(self._request)

    # Reading and serving requests

    def _read_next(self) -> None:
        """Reads the next request, and serves it if it is complete.

        Does nothing while the previous request is being served, or while its response is unsent.
        """
        is_serving = self._request is not None and not self._needed
        is_busy = is_serving or self._is_read_scheduled or self._is_writing_paused
        if is_busy or self._end or self._transport.is_closing():
            return
        if self._lane.budget.is_spent():
            self._schedule_read()
            return
        if self._more:
            self._data += self._more
            self._more = None
        if self._is_reading_paused and len(self._data) <= MAX_BUFFERED_BYTES:
            self._is_reading_paused = False
            self._transport.resume_reading()
        if self._request is None and self._data:
            self._read_head()
        if self._request is not None and self._needed <= len(self._data):
            self._serve(self._request)
        elif self._has_eof and self._end is None:
            self._close_when_sent()

    def _read_head(self) -> None:
        head = read_plain_head(self._data)
        lane = self._lane
        if head is None or head.body_end - head.body_start > MAX_BODY_BYTES or not lane.handler.takes(head):
            self._end_when_sent(lambda: self._server.begin_hand_over(self._hand_over))
            return
        request = self._request = PlainRequest(self, head)
        self._requests += 1
        self._needed = head.body_end
        if lane.recorder is not None:
            request.started_ns = lane.recorder.now_ns()
        try:
            lane.handler.admit(request)
        except Exception as error:  # noqa: BLE001 - outermost exception handler of the request
            self._refusal = error

    def _serve(self, request: PlainRequest) -> None:
        head = request.head
        request.body = self._data[head.body_start : head.body_end]
        self._data = self._data[head.body_end :]
        self._needed = 0
        refusal, self._refusal = self._refusal, None
        self._lane.in_flight.begin(request)
        try:
            if refusal is not None:
                raise refusal
            self._lane.handler.serve(request)
        except Exception as error:  # noqa: BLE001 - outermost exception handler of the request
            request.fail(error)
        if self._request is not request:
            self._schedule_read()

    def _schedule_read(self) -> None:
        # Reads the next request in the next iteration, because the stack would otherwise grow with each pipelined
        # request. Other clients would also have to wait: while a client keeps the socket's receive buffer full, uvloop
        # calls `data_received` up to 32 times in one iteration.
        if not self._is_read_scheduled:
            self._is_read_scheduled = True
            asyncio.get_running_loop().call_soon(self._read_scheduled)

    def _read_scheduled(self) -> None:
        self._is_read_scheduled = False
        self._read_next()

    @property
    def client_address(self) -> str:
        """The IP address of the client."""
        address: str = self._address[0]
        return address

    @property
    def is_draining(self) -> bool:
        """See `ResponseSink`."""
        return self._lane.in_flight.draining

    def send(self, request: PlainRequest, response: bytes, rest: bytes = b"") -> None:
        """See `ResponseSink`."""
        self._lane.in_flight.end(request)
        if self._transport.is_closing():
            request.status, request.body_bytes = None, 0  # for the access log: nothing is sent
            return
        self._request = None
        if rest:
            self._transport.writelines((response, rest))
        else:
            self._transport.write(response)
        lane = self._lane
        if request.status is not None:
            lane.in_flight.responses[request.status] += 1
        if lane.recorder is not None:
            lane.recorder.record(request)
        if request.head.is_last or lane.in_flight.draining or (self._has_eof and not self._data and not self._more):
            self._close_when_sent()
        elif self._data or self._more:
            self._schedule_read()

    # Leaving the lane, and closing the connection

    def _close_when_sent(self) -> None:
        has_unread = bool(self._data or self._more or self._is_reading_paused)
        self._data, self._more = b"", None
        self._end_when_sent(self._linger if has_unread else self._transport.close)

    def _end_when_sent(self, end: Callable[[], None]) -> None:
        self._end = end
        self._pause_reading()
        # `end` may abort the transport, which discards unsent bytes. With a limit of 0, the transport calls
        # `resume_writing` only when all bytes are sent, and `resume_writing` calls `end`.
        self._transport.set_write_buffer_limits(high=0)
        if not self._is_writing_paused:
            end()

    def _linger(self) -> None:
        begin_lingering_close(self._transport, self._server)

    def _hand_over(self) -> None:
        hand_over(self._transport, self._take_over)

    def _take_over(self, client: socket.socket) -> None:
        self._server.connection_lost(self)
        self._server.take_over(client, self._address, self._data + (self._more or b""))

    def _pause_reading(self) -> None:
        if not self._is_reading_paused:
            self._is_reading_paused = True
            self._transport.pause_reading()

    def close(self) -> None:
        """Closes the connection after the written bytes have been sent."""
        self._transport.close()

    def abort(self) -> None:
        """Closes the connection now."""
        self._transport.abort()

    def check_timeouts(self, now_s: float) -> None:
        """See `TimedConnection`."""
        wait = self._current_wait()
        if self._transport.is_closing() or not self._clock.has_expired(wait, now_s):
            return
        if wait.phase == "body":
            problem = Problem(REQUEST_TIMEOUT, f"The body did not come within {wait.timeout_s:g} seconds.")
            self._transport.write(last_response(problem))
            self._end_when_sent(self._linger)
        else:
            self._transport.abort()

    def _current_wait(self) -> Wait:
        timeouts, requests = self._timeouts, self._requests
        if unsent := self._transport.get_write_buffer_size():
            return Wait(timeouts.response_s, "response", requests, unsent // RESPONSE_STEP_BYTES)
        if self._needed:
            return Wait(timeouts.body_s, "body", requests)
        if self._request is not None:
            return Wait(math.inf, "nothing", requests)
        return Wait(timeouts.idle_s, "request", requests)
