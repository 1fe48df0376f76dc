"""`POST /orders` with NDJSON, one order per line. Stores orders while it reads the stream. Runs on the event loop."""

import asyncio
import enum
import sys
from collections.abc import Awaitable, Coroutine
from copy import copy
from typing import Any, cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, RequestStartLine, ResponseStartLine

from handlers.orders.buffer_budget import BufferBudget
from handlers.orders.bulk_insert import BulkInsert
from handlers.orders.bulk_view import BulkView
from handlers.requests.early_response import prepare_early_response
from handlers.requests.error_responses import ErrorResponder
from handlers.requests.exchange import ACCEPTED, Exchange
from handlers.requests.request_head import RequestHead
from handlers.transport.connection_stream import lift_body_timeout, set_read_size
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.json_encoder import encode
from models.errors import QueueClosedError, QueueFullError
from models.parsing.lines import LineBlock, Lines

STALL_TIMEOUT_S = 30.0
"""If the client sends nothing for this long, its connection is closed."""
CHUNK_BYTES = 256 * 1024
"""The maximum size of a chunk of the body. The orders of a chunk share a commit, and a commit of a few hundred orders
takes hardly longer than a small one. A larger chunk would delay other orders for longer."""


class _Phase(enum.Enum):
    """The phases of a request. A request never returns to a phase that it has left."""

    READING = enum.auto()
    """The body is being read. The response begins at the end of the body, after an error, or when a drain starts."""
    ANSWERING = enum.auto()
    """The last group of orders is being stored, or the response is being sent. Further data of the body is ignored."""
    DISCONNECTED = enum.auto()
    """The connection was closed before the end of the body. There is no response."""


class BulkStreamExchange(Exchange):
    """A stream of orders: 202 when the last valid order is on disk.

    Backpressure: nothing is read while two groups of orders are in memory, so TCP slows down the client. Stored orders
    remain stored even if the stream fails. The response is sent before the end of the body if the storage fails, if
    the server stops, or if `buffers` has too little space for the next lines.
    """

    def __init__(
        self,
        head: RequestHead,
        *,
        in_flight: InFlightRequests,
        errors: ErrorResponder,
        bulk: BulkInsert,
        buffers: BufferBudget,
    ) -> None:
        super().__init__(head, in_flight=in_flight, errors=errors)
        self._connection = cast(HTTP1Connection, head.connection)
        self._bulk = bulk
        self._buffers = buffers
        self._lines = Lines()
        self._phase = _Phase.READING
        self._has_whole_body = False
        self._loop = asyncio.get_running_loop()
        self._read_bytes = 0
        self._idle_since_s: float | None = self._loop.time()
        """When the server began to wait for data, in seconds of the event loop's clock; None while it processes
        data."""
        self._timer = self._loop.call_later(STALL_TIMEOUT_S, self._check_stall)

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        self._in_flight.begin(self)
        self._in_flight.drain_listeners.add(self)
        self._connection.set_max_body_size(sys.maxsize)
        # Tornado makes an HTTP1Connection for each request, so the change does not affect other requests.
        self._connection.params = copy(self._connection.params)
        self._connection.params.chunk_size = CHUNK_BYTES
        self._read_bytes = set_read_size(self._connection, CHUNK_BYTES)
        lift_body_timeout(self._connection)
        if self._in_flight.draining:
            self.head.drop_expectation()
            self._refuse(QueueClosedError())
        return None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._receive(chunk) if self._phase is _Phase.READING else self._wait_for_result()

    def finish(self) -> None:
        self._has_whole_body = True
        if self._phase is _Phase.READING:
            self._begin_response(self._finish())

    def on_connection_close(self) -> None:
        # In the phase ANSWERING, the request stays in flight until its last orders are stored.
        if self._phase is _Phase.READING:
            self._leave_reading(_Phase.DISCONNECTED)
            self._in_flight.end(self)

    def answer(self, result: BulkView) -> None:
        result.check_any_stored()
        self.write(ACCEPTED, {}, encode(result))

    def drain_started(self) -> None:
        """If the request is waiting for data, rejects the rest of its body, because the server is stopping.

        If received lines are being processed, `_receive` rejects the rest of the body after the current group.
        """
        if self._idle_since_s is not None:
            self._refuse(QueueClosedError())

    async def _receive(self, chunk: bytes) -> None:
        self._idle_since_s = None
        try:
            # Called even if no line ended, because `_add` raises the error of an earlier group.
            await self._add(self._lines.add(chunk))
        except Exception as error:  # noqa: BLE001 - outermost exception handler of the request
            self._refuse(error)
            await self._wait_for_result()
            return
        self._idle_since_s = self._loop.time()
        if self._in_flight.draining:
            # Not called directly: if Tornado has already received the end of the body, it must call `finish` first.
            self._loop.call_soon(self.drain_started)

    def _refuse(self, error: Exception) -> None:
        """Begins an error response, unless a response has already begun."""
        if self._phase is _Phase.READING:
            self._begin_response(self._bulk.finish_or_raise_problem(error))

    def _begin_response(self, result: Coroutine[Any, Any, BulkView]) -> None:
        self._leave_reading(_Phase.ANSWERING)
        self._result = asyncio.create_task(result)
        self._result.add_done_callback(self._on_done)

    async def _wait_for_result(self) -> None:
        if self._phase is _Phase.ANSWERING:
            await asyncio.wait([self._result])

    def _fail(self, error: BaseException) -> None:
        if not self._has_whole_body:
            prepare_early_response(self.head)
        super()._fail(error)

    async def _finish(self) -> BulkView:
        error: Exception | None = None
        try:
            await self._add(self._lines.end())
        except Exception as failure:  # noqa: BLE001 - outermost exception handler of the request
            error = failure
        return await self._bulk.finish_or_raise_problem(error)

    async def _add(self, block: LineBlock | None) -> None:
        if block and self._in_flight.draining and block.lines():
            raise QueueClosedError
        # The limit on connections does not limit these lines: while lines wait, the server does not notice a
        # disconnect. So a client could disconnect, reconnect and send more lines.
        size = len(block.text) if block else 0
        if not self._buffers.reserve(size):
            raise QueueFullError
        try:
            await self._bulk.add_lines(block)
        finally:
            self._buffers.release(size)

    def _leave_reading(self, phase: _Phase) -> None:
        self._phase = phase
        self._timer.cancel()
        set_read_size(self._connection, self._read_bytes)
        self._in_flight.drain_listeners.discard(self)

    def _check_stall(self) -> None:
        now_s = self._loop.time()
        idle_s = 0.0 if self._idle_since_s is None else now_s - self._idle_since_s
        if idle_s >= STALL_TIMEOUT_S:
            self._connection.close()
        else:
            self._timer = self._loop.call_later(STALL_TIMEOUT_S - idle_s, self._check_stall)
