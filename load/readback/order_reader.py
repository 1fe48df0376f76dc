"""Reads orders back, and compares them with what was sent. Runs on the event loop."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from load.http.address import Address
from load.http.connection import Response
from load.http.connections import DEFAULT_TIMEOUTS, Connections, RequestTiming, Timeouts
from load.orders.comparison import BadJson, decode_json, difference_in, find_contradiction
from load.orders.sources import OrderSource
from load.results.result import ReadBackResult

GONE = 410  # The status for an order that has left the database because of the server's flag --keep.
TERMINAL_STATUSES = frozenset({"Completed", "Failed", "Cancelled"})


@dataclass
class ReadOrder:
    """An order to read back. `places` has the index of every order in the source with its id."""

    order_id: int
    places: list[int]
    found: Any = None  # The decoded body of the last response.
    unread: str = ""  # Why the last request got no valid response.


@dataclass(kw_only=True)
class OrderReader:
    """Reads orders with GET /order/{id}, and compares them with what was sent. `result` is updated with each order.

    `processed_ns` is the time at which the last order was first read as processed. `processed_ns` is None if every
    order was already processed when it was first read. `gone` gets the ids of archived orders, to which the server
    responds with a 410; without it, such an order is unread.
    """

    address: Address
    source: OrderSource
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    clock_ns: Callable[[], int] = time.perf_counter_ns
    result: ReadBackResult = field(default_factory=ReadBackResult)
    processed_ns: int | None = None
    gone: set[int] | None = None
    _deferred: list[ReadOrder] = field(default_factory=list)

    async def read(self, places: Iterable[int], *, again: bool, connections: int) -> ReadBackResult:
        """Read the orders at these indexes of the source. With `again`, read unprocessed and unreadable orders again.

        Reading again ends when no such order is left, or when no order was processed for `timeouts.processing_s`.
        """
        order_id = self.source.order_id
        ascending = sorted(places, key=order_id)
        self.result.acknowledged = sum(1 for _ in groupby(ascending, key=order_id))
        orders = (ReadOrder(one_id, list(group)) for one_id, group in groupby(ascending, key=order_id))
        loop = Connections(self.address, count=connections, timeouts=self.timeouts, clock_ns=self.clock_ns)
        with closing(loop) as clients:
            await self._read_once(clients, orders)
            self._deferred.extend(orders)
            changed_ns, left = self.clock_ns(), len(self._deferred)
            while again and self._deferred and not clients.gone:
                await asyncio.sleep(self.timeouts.poll_s)
                await self._read_once(clients, iter(self._deferred))
                if len(self._deferred) < left:
                    changed_ns, left = self.clock_ns(), len(self._deferred)
                again = self.clock_ns() - changed_ns <= self.timeouts.processing_s * 1e9
        for order in self._deferred:
            if order.unread or order.found is None:
                self.result.unread[order.order_id] = order.unread or "the server went away"
            else:
                self.result.unprocessed[order.order_id] = order.found["status"]
                self._count(order)
        return self.result

    async def _read_once(self, clients: Connections, orders: Iterator[ReadOrder]) -> None:
        self._deferred = []
        jobs = ((order, self.address.get(f"/order/{order.order_id}")) for order in orders)
        await clients.work(jobs, answered=self._check, unanswered=self._defer)

    def _defer(self, order: ReadOrder, reason: str) -> None:
        order.unread = reason
        self._deferred.append(order)

    def _check(self, order: ReadOrder, response: Response, timing: RequestTiming) -> None:
        if response.status == 404:
            self.result.lost_ids.append(order.order_id)
            return
        if response.status == GONE and self.gone is not None:
            self.gone.add(order.order_id)
            return
        if response.status != 200:
            self._defer(order, f"status {response.status}")
            return
        was_waiting = order.found is not None
        order.found = None
        with suppress(BadJson):
            order.found = decode_json(response.body)
        differences = (difference_in(self.source.order(place), order.found) for place in order.places)
        difference = next(filter(None, differences), "")
        is_processed = not difference and order.found["status"] in TERMINAL_STATUSES
        if is_processed:
            difference = find_contradiction(order.found)
        if difference:
            self.result.different[order.order_id] = difference
        elif not is_processed:
            self._defer(order, "")
            return
        elif was_waiting:
            self.processed_ns = self.clock_ns()
        self._count(order)

    def _count(self, order: ReadOrder) -> None:
        result = self.result
        result.read += 1
        if isinstance(order.found, dict):
            result.statuses[str(order.found.get("status"))] += 1
