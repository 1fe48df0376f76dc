"""`POST /orders` with a JSON array, which is read completely before it is parsed. Runs on the event loop."""

import asyncio
from asyncio import Future
from collections.abc import Sequence

from handlers.orders.buffer_budget import BufferBudget
from handlers.orders.bulk_insert import BulkInsert
from handlers.orders.bulk_view import BulkView
from handlers.requests.error_responses import ErrorResponder
from handlers.requests.exchange import ACCEPTED, Exchange
from handlers.requests.request_head import RequestHead
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.json_encoder import encode
from models.errors import QueueFullError
from models.parsing.bulk import parse_array
from models.writes import NewOrder

MAX_ARRAY_BYTES = 8 * 1024 * 1024
"""The length of one array."""


class BulkArrayExchange(Exchange):
    """An array of orders: 202 once the valid ones are on disk, 503 if its bytes exceed the budget of `buffers`."""

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
        self._bulk = bulk
        self._buffers = buffers
        self._reserved_bytes = 0
        self._chunks: list[bytes] | None = []

    def data_received(self, chunk: bytes) -> None:
        if self._chunks is None:
            return
        if self._buffers.reserve(len(chunk)):
            self._reserved_bytes += len(chunk)
            self._chunks.append(chunk)
        else:
            self._chunks = None
            self._release()

    def begin(self, body: bytes) -> Future[BulkView]:
        if self._chunks is None:
            raise QueueFullError
        try:
            orders = parse_array(b"".join(self._chunks))
        except BaseException:
            self._release()
            raise
        self._chunks.clear()
        return asyncio.create_task(self._store(orders))

    def on_connection_close(self) -> None:
        self._chunks = None
        self._release()

    def answer(self, result: BulkView) -> None:
        result.check_any_stored()
        self.write(ACCEPTED, {}, encode(result))

    async def _store(self, orders: Sequence[NewOrder | bytes]) -> BulkView:
        try:
            await self._bulk.add(list(enumerate(orders)))
            return await self._bulk.finish_or_raise_problem()
        finally:
            self._release()

    def _release(self) -> None:
        self._buffers.release(self._reserved_bytes)
        self._reserved_bytes = 0
