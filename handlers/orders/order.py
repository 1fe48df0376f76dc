"""One order: taking it in, and answering what has become of it. Runs on the event loop."""

import time
from asyncio import Future, create_task
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

import msgspec
from tornado.httputil import HTTPHeaders

from handlers.metrics.instruments import IntakeOutcome, Measurements
from handlers.orders.preferences import MAX_WAIT_S, preferred_wait_s
from handlers.problems.problem import NOT_FOUND, UNSUPPORTED_MEDIA_TYPE, Problem
from handlers.transport.base_handler import encode
from handlers.transport.exchange import ACCEPTED, OK, Exchange, Incoming, Refuse
from handlers.transport.in_flight import Traffic
from handlers.transport.query_parameters import Parameters
from models.errors import InvalidOrderError, NotJsonError, QueueClosedError, QueueFullError
from models.order import NewOrder, Order, Status, amount_as_decimal, time_as_text
from models.parsing.order_body import MAX_ID
from models.parsing.order_parser import parse_order
from models.writes import Insertion

_MICROSECONDS = 1_000_000


class OrderView(msgspec.Struct, gc=False):
    """An order as a client sees it."""

    order_id: int
    user_id: int
    item_ids: list[int]
    total_amount: Decimal
    status: Status
    created_time: str
    processed_time: str | None
    attempts: int
    error: str | None
    processing_time: float | None
    metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def view_of(order: Order) -> OrderView:
    done = order.processed_us
    return OrderView(
        order.order_id,
        order.user_id,
        order.item_ids,
        amount_as_decimal(order.total_amount),
        order.status,
        time_as_text(order.created_us),
        None if done is None else time_as_text(done),
        order.attempts,
        order.error,
        None if done is None else (done - order.created_us) / _MICROSECONDS,
        msgspec.UNSET if order.metadata is None else msgspec.Raw(order.metadata.encode()),
    )


def order_id_of(digits: str) -> int | None:
    """The id as it is written in a path: no zeros before it, and none over the largest; None for what is no id."""
    if digits.startswith("0") or len(digits) > len(str(MAX_ID)) or int(digits) > MAX_ID:
        return None
    return int(digits)


def check_not_encoded(headers: HTTPHeaders) -> None:
    """Raises the Problem that a body which is compressed, say, gets."""
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(UNSUPPORTED_MEDIA_TYPE, "Orders are sent as they are, without a content encoding.")


def unknown_order(digits: str) -> Problem:
    return Problem(NOT_FOUND, f"There is no order {digits}.")


class NewOrderExchange(Exchange):
    """`POST /order`: 202 once the order is on disk; 200 with the order where the client prefers to wait for its end and
    that comes in time."""

    def __init__(
        self,
        incoming: Incoming,
        *,
        traffic: Traffic,
        refuse: Refuse,
        insert: Callable[[NewOrder], Future[Insertion]],
        until_final: Callable[[Future[Insertion], int, float], Coroutine[Any, Any, tuple[Insertion, Order | None]]],
        measurements: Measurements,
    ) -> None:
        super().__init__(incoming, traffic=traffic, refuse=refuse)
        self._measurements = measurements
        self._insert = insert
        self._until_final = until_final
        self._wait_s: int | None = None

    def begin(self, body: bytes) -> Future[Any]:
        self._begin_s = time.perf_counter()
        media_type = self.incoming.headers.get("Content-Type", "")
        if media_type != "application/json" and media_type.partition(";")[0].strip().lower() != "application/json":
            raise Problem(UNSUPPORTED_MEDIA_TYPE, "An order is sent as application/json.")
        if "Content-Encoding" in self.incoming.headers:
            check_not_encoded(self.incoming.headers)
        try:
            order = parse_order(body)
        except (NotJsonError, InvalidOrderError):
            self._measurements.note_intake(IntakeOutcome.INVALID)
            raise
        self._order_id = order.order_id
        try:
            inserted = self._insert(order)
        except (QueueFullError, QueueClosedError):
            self._measurements.note_intake(IntakeOutcome.REFUSED)
            raise
        if "Prefer" in self.incoming.headers:
            self._wait_s = preferred_wait_s(self.incoming.headers)
        if self._wait_s:
            return self.cancel_if_closed(create_task(self._until_final(inserted, order.order_id, self._wait_s)))
        return inserted

    def answer(self, result: Insertion | tuple[Insertion, Order | None]) -> None:
        insertion, ended = (result, None) if isinstance(result, Insertion) else result
        headers = {"Location": f"/order/{self._order_id}"}
        if insertion is Insertion.REPLAYED:
            headers["Idempotent-Replayed"] = "true"
        if ended:
            headers["Preference-Applied"] = f"wait={self._wait_s}"
            self.write(OK, headers, encode(view_of(ended)))
            return
        body = b'{"message": "Order processing initiated successfully", "order_id": "%d"}' % self._order_id
        self.write(ACCEPTED, headers, body)
        if not self._wait_s:
            self._measurements.ack_s.observe(time.perf_counter() - self._begin_s)


class OrderExchange(Exchange):
    """`GET /order/{id}`: the order as it is now, or with `wait` once it has come to its end or that time is over."""

    def __init__(
        self,
        incoming: Incoming,
        *,
        traffic: Traffic,
        refuse: Refuse,
        find: Callable[[int], Future[Order | None]],
        find_final: Callable[[int, float], Coroutine[Any, Any, Order | None]],
    ) -> None:
        super().__init__(incoming, traffic=traffic, refuse=refuse)
        self._find = find
        self._find_final = find_final

    def begin(self, body: bytes) -> Future[Order | None]:
        self._digits = self.incoming.path.removeprefix("/order/")
        order_id = order_id_of(self._digits)
        wait_s = self._read_wait() if "?" in self.incoming.start_line.path else None
        if order_id is None:
            raise unknown_order(self._digits)
        if wait_s:
            return self.cancel_if_closed(create_task(self._find_final(order_id, wait_s)))
        return self._find(order_id)

    def _read_wait(self) -> int | None:
        # What else a client adds, such as a number against caches, changes nothing.
        given = self.incoming.as_request().query_arguments.get("wait")
        parameters = Parameters({"wait": given} if given else {}, known=("wait",))
        wait_s = parameters.integer("wait", 0, MAX_WAIT_S)
        parameters.check()
        return wait_s

    def answer(self, result: Order | None) -> None:
        if result is None:
            raise unknown_order(self._digits)
        self.write(OK, {}, encode(view_of(result)))
