"""`POST /orders` with a JSON array, which is read completely before it is parsed. Runs on the event loop."""

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import Iterator

from handlers.orders.buffer_budget import BufferBudget
from handlers.orders.bulk_insert import BulkInsert
from handlers.orders.bulk_view import BulkView
from handlers.orders.time_slices import TimeSlices
from handlers.requests.error_responses import ErrorResponder
from handlers.requests.exchange import ACCEPTED, Exchange
from handlers.requests.request_head import RequestHead
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.json_encoder import encode
from models.errors import QueueFullError
from models.parsing.array_reader import read_array

MAX_ARRAY_BYTES = 8 * 1024 * 1024
"""The maximum length of an array."""
PART_BYTES = 64 * 1024
"""An array is buffered in parts of up to this length, because copying a whole array at once would take too long."""


class BulkArrayExchange(Exchange):
    """An array of orders: 202 when the valid orders are on disk, 503 if `buffers` has no space for the array."""

    def __init__(
        self,
        head: RequestHead,
        *,
        in_flight: InFlightRequests,
        errors: ErrorResponder,
        bulk: BulkInsert,
        buffers: BufferBudget,
        slices: TimeSlices,
    ) -> None:
        super().__init__(head, in_flight=in_flight, errors=errors)
        self._bulk = bulk
        self._buffers = buffers
        self._slices = slices
        self._reserved_bytes = 0
        self._parts: deque[bytearray] | None = deque([bytearray()])

    def data_received(self, chunk: bytes) -> None:
        if self._parts is None:
            return
        if self._buffers.reserve(len(chunk)):
            self._reserved_bytes += len(chunk)
            # Joins the chunks: a client can send each byte as a separate chunk.
            if len(self._parts[-1]) + len(chunk) > PART_BYTES:
                self._parts.append(bytearray())
            self._parts[-1] += chunk
        else:
            self._parts = None
            self._release()

    def begin(self, body: bytes) -> Future[BulkView]:
        if self._parts is None:
            raise QueueFullError
        return asyncio.create_task(self._store(self._parts))

    def on_connection_close(self) -> None:
        self._parts = None
        self._release()

    def answer(self, result: BulkView) -> None:
        result.check_any_stored()
        self.write(ACCEPTED, {}, encode(result))

    async def _store(self, parts: deque[bytearray]) -> BulkView:
        try:
            # No variable refers to this list, so that its memory is freed when the orders have been parsed.
            await self._bulk.add(list(enumerate(await self._slices.run(read_array(_taken_from(parts))))))
            return await self._bulk.finish_or_raise_problem()
        finally:
            self._release()

    def _release(self) -> None:
        self._buffers.release(self._reserved_bytes)
        self._reserved_bytes = 0


def _taken_from(parts: deque[bytearray]) -> Iterator[bytes]:
    """Yields the parts of a body. Removes each part from `parts` to free its memory before the next part is yielded."""
    while parts:
        yield bytes(parts.popleft())
