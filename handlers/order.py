"""One order: taking it in, and answering what has become of it."""

import functools
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import msgspec

from handlers.base import BaseHandler, Traffic
from handlers.problems import NOT_FOUND, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, Problem
from models.order import Insertion, NewOrder, Order, Status, amount_as_decimal
from models.validation import MAX_ID, parse_order

MAX_BODY_BYTES = 64 * 1024
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
        _utc(order.created_us // _MICROSECONDS),
        None if done is None else _utc(done // _MICROSECONDS),
        order.attempts,
        order.error,
        None if done is None else (done - order.created_us) / _MICROSECONDS,
        msgspec.UNSET if order.metadata is None else msgspec.Raw(order.metadata.encode()),
    )


@functools.lru_cache(maxsize=4096)
def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


class NewOrderHandler(BaseHandler):
    """`POST /order`: 202 once the order is on disk."""

    def initialize(self, *, traffic: Traffic, insert: Callable[[NewOrder], Awaitable[Insertion]]) -> None:
        self._join(traffic=traffic)
        self._insert = insert

    async def post(self) -> None:
        media_type = self.request.headers.get("Content-Type", "")
        if media_type != "application/json" and media_type.partition(";")[0].strip().lower() != "application/json":
            raise Problem(UNSUPPORTED_MEDIA_TYPE, "An order is sent as application/json.")
        order = parse_order(self.request.body)
        insertion = await self._insert(order)
        self.set_status(HTTPStatus.ACCEPTED)
        self.set_header("Content-Type", "application/json")
        self.set_header("Location", f"/order/{order.order_id}")
        if insertion is Insertion.REPLAYED:
            self.set_header("Idempotent-Replayed", "true")
        self.finish(b'{"message": "Order processing initiated successfully", "order_id": "%d"}' % order.order_id)


class OrderHandler(BaseHandler):
    """`GET /order/{id}`: the order as it is now."""

    def initialize(self, *, traffic: Traffic, find: Callable[[int], Awaitable[Order | None]]) -> None:
        self._join(traffic=traffic)
        self._find = find

    async def get(self, order_id: str) -> None:
        number = int(order_id) if len(order_id) <= len(str(MAX_ID)) else 0
        order = await self._find(number) if 1 <= number <= MAX_ID else None
        if order is None:
            raise Problem(NOT_FOUND, f"There is no order {order_id}.")
        self.answer_json(view_of(order))

    async def head(self, order_id: str) -> None:
        await self.get(order_id)


class TooLargeHandler(BaseHandler):
    """Answers a request whose body is over the limit, whatever its method."""

    def prepare(self) -> Any:
        super().prepare()
        raise Problem(TOO_LARGE, f"The body of one order is at most {MAX_BODY_BYTES} bytes.")
