"""`POST /order` and `GET /order/{id}` on the plain lane (`handlers/transport/lane.py`). Runs on the event loop."""

import time

from handlers.metrics.instruments import Instruments, IntakeOutcome
from handlers.orders.order_view import order_view
from handlers.orders.single import (
    accepted,
    check_content_type,
    order_not_found,
    parse_order_id,
    read_order,
    with_trace_headers,
)
from handlers.service import Service
from handlers.transport.json_encoder import encode
from handlers.transport.plain_head import PlainHead
from handlers.transport.plain_request import PlainRequest
from handlers.transport.responses import header_lines
from models.errors import QueueClosedError, QueueFullError
from models.order import Order
from models.writes.insertion import Insertion

_ORDER = "/order"
_ORDERS_FOLDER = "/order/"


class PlainOrders:
    """Serves `POST /order` without a Prefer header, and `GET /order/{id}` without a query."""

    def __init__(self, *, service: Service, instruments: Instruments) -> None:
        self._service = service
        self._instruments = instruments

    def takes(self, head: PlainHead) -> bool:
        """Whether this object serves the request with this head."""
        if head.method == "POST":
            return head.path == _ORDER and "prefer" not in head.fields
        return head.path.startswith(_ORDERS_FOLDER) and head.path[len(_ORDERS_FOLDER) :].isdecimal()

    def serve(self, request: PlainRequest) -> None:
        """Responds to a POST when the order is on disk, to a GET when it is read. An exception becomes the response."""
        if request.head.method == "POST":
            self._insert(request)
        else:
            self._find(request)

    def _insert(self, request: PlainRequest) -> None:
        begin_s = time.perf_counter()
        fields = request.head.fields
        check_content_type(fields.get("content-type", ""))
        order = with_trace_headers(read_order(request.body, instruments=self._instruments), fields)
        request.order_id = order.order_id
        waiter = _InsertionWaiter(request, order.order_id, instruments=self._instruments, begin_s=begin_s)
        try:
            self._service.insert_for(order, waiter)
        except (QueueFullError, QueueClosedError):
            self._instruments.count_intake(IntakeOutcome.REFUSED)
            raise

    def _find(self, request: PlainRequest) -> None:
        id_text = request.head.path[len(_ORDERS_FOLDER) :]
        order_id = parse_order_id(id_text)
        if order_id is None:
            raise order_not_found(id_text)
        self._service.find_for(order_id, _OrderWaiter(request, id_text))


class _PlainWaiter:
    """Implements `models.writes.waiter.Waiter`: sends the response when the order service has the result.

    `cancelled` is always False, because a LaneConnection does not report that its client has disconnected.
    """

    __slots__ = ("_request",)

    _request: PlainRequest

    def cancelled(self) -> bool:
        return False

    def set_exception(self, exception: BaseException) -> None:
        self._request.fail(exception)


class _InsertionWaiter(_PlainWaiter):
    __slots__ = ("_begin_s", "_instruments", "_order_id")

    def __init__(self, request: PlainRequest, order_id: int, *, instruments: Instruments, begin_s: float) -> None:
        self._request = request
        self._order_id = order_id
        self._instruments = instruments
        self._begin_s = begin_s

    def set_result(self, result: Insertion) -> None:
        headers, body = accepted(self._order_id, result)
        self._request.respond(202, body, header_lines(headers))
        self._instruments.ack_s.observe(time.perf_counter() - self._begin_s)


class _OrderWaiter(_PlainWaiter):
    __slots__ = ("_id_text",)

    def __init__(self, request: PlainRequest, id_text: str) -> None:
        self._request = request
        self._id_text = id_text

    def set_result(self, result: Order | None) -> None:
        if result is None:
            self.set_exception(order_not_found(self._id_text))
        else:
            self._request.respond(200, encode(order_view(result)))
