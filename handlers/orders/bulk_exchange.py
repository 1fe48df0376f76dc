"""`POST /orders`: an array that is read whole, or lines that are read as a stream. Runs on the event loop."""

import asyncio
import sys
from asyncio import Future
from collections.abc import Awaitable, Sequence
from typing import cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine

from handlers.orders.bulk import BulkInsert, BulkView
from handlers.orders.single import check_not_encoded
from handlers.problems.problem import (
    NOTHING_ACCEPTED,
    UNSUPPORTED_MEDIA_TYPE,
    Problem,
    problem_for,
)
from handlers.transport.body_limit import BodyLimit
from handlers.transport.early_response import EarlyResponseConnection
from handlers.transport.exchange import ACCEPTED, Exchange, Refuse
from handlers.transport.guarded_stream import lift_body_limit
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.json_encoder import encode
from handlers.transport.request_head import RequestHead
from models.errors import QueueClosedError, QueueFullError
from models.parsing.bulk import Lines, parse_array
from models.writes import NewOrder

MAX_ARRAY_BYTES = 8 * 1024 * 1024
MAX_ARRAYS_BYTES = 64 * 1024 * 1024
"""All arrays together that are being received or written."""
STALL_S = 30.0
"""A stream that brings nothing for this long is cut off, and so is one that goes on for this long after its answer."""


class ByteRoom:
    """How many bytes may still be held."""

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, count: int) -> bool:
        """Whether there was room for them; then they are to be given back."""
        is_taken = count <= self._left
        self._left -= count if is_taken else 0
        return is_taken

    def give_back(self, count: int) -> None:
        self._left += count


def bulk_exchange(
    head: RequestHead, *, in_flight: InFlightRequests, refuse: Refuse, bulk: BulkInsert, arrays: ByteRoom
) -> HTTPMessageDelegate:
    """Who takes a `POST /orders`, by its content type; `arrays` is the room for those that are held whole."""
    try:
        check_not_encoded(head.headers)
    except Problem as problem:
        return BodyLimit(HTTPMessageDelegate(), head, refuse=refuse, problem=problem)
    media_type = head.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type == "application/x-ndjson":
        return LinesExchange(head, in_flight=in_flight, refuse=refuse, bulk=bulk)
    if media_type == "application/json":
        exchange = ArrayExchange(head, in_flight=in_flight, refuse=refuse, bulk=bulk, room=arrays)
        return BodyLimit(exchange, head, refuse=refuse, limit_bytes=MAX_ARRAY_BYTES)
    detail = "Orders are sent as application/json, an array, or as application/x-ndjson, one a line."
    return BodyLimit(HTTPMessageDelegate(), head, refuse=refuse, problem=Problem(UNSUPPORTED_MEDIA_TYPE, detail))


class ArrayExchange(Exchange):
    """An array of orders: 202 once the good ones are on disk, 503 where there is no room for its bytes."""

    def __init__(
        self, head: RequestHead, *, in_flight: InFlightRequests, refuse: Refuse, bulk: BulkInsert, room: ByteRoom
    ) -> None:
        super().__init__(head, in_flight=in_flight, refuse=refuse)
        self._bulk = bulk
        self._room = room
        self._held_bytes = 0
        self._parts: list[bytes] | None = []

    def data_received(self, chunk: bytes) -> None:
        if self._parts is None:
            return
        if self._room.take(len(chunk)):
            self._held_bytes += len(chunk)
            self._parts.append(chunk)
        else:
            self._parts = None
            self._give_back()

    def begin(self, body: bytes) -> Future[BulkView]:
        if self._parts is None:
            raise QueueFullError
        try:
            orders = parse_array(b"".join(self._parts))
        except BaseException:
            self._give_back()
            raise
        self._parts.clear()
        return asyncio.create_task(self._take(orders))

    def on_connection_close(self) -> None:
        self._parts = None
        self._give_back()

    def answer(self, result: BulkView) -> None:
        self.write(ACCEPTED, {}, encode(_checked(result)))

    async def _take(self, orders: Sequence[NewOrder | bytes]) -> BulkView:
        try:
            await self._bulk.add(list(enumerate(orders)))
            return await _result(self._bulk, None)
        finally:
            self._give_back()

    def _give_back(self) -> None:
        self._room.give_back(self._held_bytes)
        self._held_bytes = 0


class LinesExchange(Exchange):
    """Orders, one a line, written as they come: 202 once the last good one of them is on disk.

    Nothing is read while two groups of orders wait for the disk, so that the client is slowed down by TCP. What has
    been written stays, however the stream ends. Where it can't go on the answer leaves at once; what the client still
    sends is thrown away for a while, so that it gets to read the answer.
    """

    def __init__(self, head: RequestHead, *, in_flight: InFlightRequests, refuse: Refuse, bulk: BulkInsert) -> None:
        super().__init__(head, in_flight=in_flight, refuse=refuse)
        self._connection = cast(HTTP1Connection, head.connection)
        self._bulk = bulk
        self._lines = Lines()
        self._is_refused = False
        self._loop = asyncio.get_running_loop()
        self._quiet_since_s: float | None = self._loop.time()
        self._timer = self._loop.call_later(STALL_S, self._check_stall)

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        self._in_flight.begin()
        self._in_flight.on_drain.add(self._refuse_quiet)
        self._connection.set_max_body_size(sys.maxsize)
        lift_body_limit(self._connection)
        return None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return None if self._is_refused else self._add(self._lines.add(chunk))

    def finish(self) -> None:
        self._end_reading()
        if self._is_refused:
            self._connection.finish()
        else:
            asyncio.create_task(self._finish()).add_done_callback(self._end)

    def on_connection_close(self) -> None:
        self._end_reading()
        if not self._is_refused:
            self._in_flight.end()

    def answer(self, result: BulkView) -> None:
        self.write(ACCEPTED, {}, encode(_checked(result)))

    async def _add(self, lines: list[tuple[int, bytes]]) -> None:
        self._quiet_since_s = None
        try:
            await self._take(lines)
        except Exception as error:  # noqa: BLE001 - the request's top: everything becomes an answer
            await self._refuse_rest(error)
        self._quiet_since_s = self._loop.time()

    async def _finish(self) -> BulkView:
        error: Exception | None = None
        try:
            await self._take(self._lines.end())
        except Exception as failure:  # noqa: BLE001 - the request's top: everything becomes an answer
            error = failure
        return await _result(self._bulk, error)

    async def _take(self, lines: list[tuple[int, bytes]]) -> None:
        if lines and self._in_flight.draining:
            raise QueueClosedError
        await self._bulk.add(lines)

    def _end_reading(self) -> None:
        self._timer.cancel()
        self._in_flight.on_drain.discard(self._refuse_quiet)

    def _refuse_quiet(self) -> None:
        """Ends it where the next line, which would be refused, does not come."""
        if self._quiet_since_s is not None and not self._is_refused:
            self._refusal = asyncio.create_task(self._refuse_rest(QueueClosedError()))

    async def _refuse_rest(self, error: Exception) -> None:
        try:
            await _result(self._bulk, error)
        except Problem as problem:
            self._is_refused = True
            self.head.connection = EarlyResponseConnection(self._connection)
            self._fail(problem)

    def _check_stall(self) -> None:
        now_s = self._loop.time()
        quiet_s = 0.0 if self._quiet_since_s is None else now_s - self._quiet_since_s
        if quiet_s >= STALL_S:
            self._connection.close()
        else:
            self._timer = self._loop.call_later(STALL_S - quiet_s, self._check_stall)


async def _result(bulk: BulkInsert, error: Exception | None) -> BulkView:
    """What has become of all of the orders; a Problem that says it, too, where not all could be dealt with."""
    try:
        view = await bulk.end()
    except Exception as failure:  # noqa: BLE001 - raised again as what the client is to be told
        error = error or failure
    if error is None:
        return view
    problem = problem_for(error)
    detail = "What is counted here has been dealt with. Send all of it again: that does no harm."
    raise Problem(problem.kind, detail, members=bulk.view.members(), headers=problem.headers) from error


def _checked(view: BulkView) -> BulkView:
    """The same, unless there was nothing good in it."""
    if not view.accepted and not view.duplicates:
        detail = "See `rejected` for why." if view.rejected_total else "There were no orders."
        raise Problem(NOTHING_ACCEPTED, detail, members=view.members())
    return view
