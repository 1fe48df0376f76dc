"""`POST /orders`: chooses the Exchange by content type, and limits the total memory of these requests.

Runs on the event loop.
"""

import asyncio

from tornado.httputil import HTTPMessageDelegate

from handlers.metrics.instruments import Instruments
from handlers.orders.buffer_budget import BufferBudget
from handlers.orders.bulk_array import MAX_ARRAY_BYTES, BulkArrayExchange
from handlers.orders.bulk_insert import BulkInsert
from handlers.orders.bulk_stream import BulkStreamExchange
from handlers.orders.single import check_not_encoded
from handlers.orders.time_slices import TimeSlices
from handlers.problems.problem import UNSUPPORTED_MEDIA_TYPE, Problem
from handlers.requests.body_limit import BodyLimit
from handlers.requests.error_responses import ErrorResponder
from handlers.requests.request_head import RequestHead
from handlers.service import Service
from handlers.transport.in_flight import InFlightRequests
from models.trace_headers import trace_headers_in

MAX_GROUPS = 5
"""How many groups of orders (see `BulkInsert`) all requests together can parse or store at a time."""


class BulkEndpoint:
    """Serves every `POST /orders`.

    `max_buffered_bytes` limits the total size of the JSON arrays that are being received or stored, and, separately,
    the total size of the NDJSON lines that wait to be parsed. `slices` limits how long these requests keep the event
    loop busy at a time.
    """

    def __init__(
        self,
        *,
        service: Service,
        instruments: Instruments,
        in_flight: InFlightRequests,
        errors: ErrorResponder,
        max_buffered_bytes: int,
        slices: TimeSlices,
    ) -> None:
        self._service = service
        self._instruments = instruments
        self._in_flight = in_flight
        self._errors = errors
        self._group_slots = asyncio.Semaphore(MAX_GROUPS)
        self._slices = slices
        self._array_buffers = BufferBudget(max_buffered_bytes)
        self._line_buffers = BufferBudget(max_buffered_bytes)

    def open(self, head: RequestHead) -> HTTPMessageDelegate:
        """The delegate that reads the body of the request and sends the response."""
        try:
            check_not_encoded(head.headers)
        except Problem as problem:
            return self._reject(head, problem)
        in_flight, errors = self._in_flight, self._errors
        slices = self._slices
        bulk = BulkInsert(
            service=self._service,
            group_slots=self._group_slots,
            slices=slices,
            instruments=self._instruments,
            trace_headers=trace_headers_in(head.headers),
        )
        media_type = head.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type == "application/x-ndjson":
            return BulkStreamExchange(head, in_flight=in_flight, errors=errors, bulk=bulk, buffers=self._line_buffers)
        if media_type == "application/json":
            array = BulkArrayExchange(
                head, in_flight=in_flight, errors=errors, bulk=bulk, buffers=self._array_buffers, slices=slices
            )
            return BodyLimit(array, head, errors=errors, limit_bytes=MAX_ARRAY_BYTES)
        detail = "Send orders as application/json (an array) or as application/x-ndjson (one per line)."
        accepted = {"Accept": "application/json, application/x-ndjson"}
        return self._reject(head, Problem(UNSUPPORTED_MEDIA_TYPE, detail, headers=accepted))

    def _reject(self, head: RequestHead, problem: Problem) -> HTTPMessageDelegate:
        return BodyLimit(HTTPMessageDelegate(), head, errors=self._errors, problem=problem)
