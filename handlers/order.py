"""One order: taking it in, and answering what has become of it. Runs on the event loop."""

from asyncio import Future
from collections.abc import Callable
from decimal import Decimal

import msgspec

from handlers.base import encode
from handlers.exchange import ACCEPTED, OK, Exchange, Incoming, Refuse
from handlers.problems import NOT_FOUND, UNSUPPORTED_MEDIA_TYPE, Problem
from handlers.traffic import Traffic
from models.order import NewOrder, Order, Status, amount_as_decimal, time_as_text
from models.validation import MAX_ID, parse_order
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


def unknown_order(digits: str) -> Problem:
    return Problem(NOT_FOUND, f"There is no order {digits}.")


class NewOrderExchange(Exchange):
    """`POST /order`: 202 once the order is on disk."""

    def __init__(
        self,
        incoming: Incoming,
        *,
        traffic: Traffic,
        refuse: Refuse,
        insert: Callable[[NewOrder], Future[Insertion]],
    ) -> None:
        super().__init__(incoming, traffic=traffic, refuse=refuse)
        self._insert = insert

    def begin(self, body: bytes) -> Future[Insertion]:
        media_type = self.incoming.headers.get("Content-Type", "")
        if media_type != "application/json" and media_type.partition(";")[0].strip().lower() != "application/json":
            raise Problem(UNSUPPORTED_MEDIA_TYPE, "An order is sent as application/json.")
        order = parse_order(body)
        self._order_id = order.order_id
        return self._insert(order)

    def answer(self, result: Insertion) -> None:
        headers = {"Location": f"/order/{self._order_id}"}
        if result is Insertion.REPLAYED:
            headers["Idempotent-Replayed"] = "true"
        body = b'{"message": "Order processing initiated successfully", "order_id": "%d"}' % self._order_id
        self.write(ACCEPTED, headers, body)


class OrderExchange(Exchange):
    """`GET /order/{id}`: the order as it is now."""

    def __init__(
        self,
        incoming: Incoming,
        *,
        traffic: Traffic,
        refuse: Refuse,
        find: Callable[[int], Future[Order | None]],
    ) -> None:
        super().__init__(incoming, traffic=traffic, refuse=refuse)
        self._find = find

    def begin(self, body: bytes) -> Future[Order | None]:
        self._digits = self.incoming.path.removeprefix("/order/")
        order_id = order_id_of(self._digits)
        if order_id is None:
            raise unknown_order(self._digits)
        return self._find(order_id)

    def answer(self, result: Order | None) -> None:
        if result is None:
            raise unknown_order(self._digits)
        self.write(OK, {}, encode(view_of(result)))
