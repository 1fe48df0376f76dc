"""Parses and stores the orders of one `POST /orders`, in groups. Runs on the event loop."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, cast

from msgspec import structs

from handlers.metrics.instruments import Instruments, IntakeOutcome
from handlers.orders.bulk_view import BulkView
from handlers.orders.time_slices import TimeSlices
from handlers.problems.problem import Problem, problem_for
from handlers.service import Service
from models.errors import QueueClosedError, QueueFullError
from models.parsing.bulk import ParsedOrder, parse_orders
from models.parsing.steps import Steps
from models.writes import Insertion, NewOrder

ORDERS_FREED_PER_STEP = 50


class _Group(NamedTuple):
    """Valid orders, and their positions in the request."""

    indexes: list[int]
    orders: list[NewOrder]


class BulkInsert:
    """Stores the orders of one request. An invalid order does not affect the others.

    A group is the orders of one call of `add`, stored in one commit. `group_slots` limits how many groups all requests
    together parse or store at a time. If storing a group fails, no further group is stored, and the following calls of
    `add` and `finish` raise the error. Only one call of `add` or `finish` may run at a time. `trace_headers` is stored
    with each order: see `models/trace_headers.py`.
    """

    def __init__(
        self,
        *,
        service: Service,
        group_slots: asyncio.Semaphore,
        slices: TimeSlices,
        instruments: Instruments,
        trace_headers: str | None = None,
    ) -> None:
        self.view = BulkView(rejected=[])
        self._service = service
        self._group_slots = group_slots
        self._slices = slices
        self._instruments = instruments
        self._trace_headers = trace_headers
        self._groups: deque[asyncio.Task[None]] = deque()
        self._parsed = asyncio.Semaphore(0)
        self._error: Exception | None = None

    async def add(self, orders: Sequence[tuple[int, NewOrder | bytes]]) -> None:
        """Starts to parse and store a group: for each order, its position in the request, and the order or its text.

        Returns when this group is parsed and the previous group is stored. So at most two groups of a request are in
        memory.
        """
        if orders and not self._error:
            await self._group_slots.acquire()
            task = asyncio.create_task(self._write(orders))
            task.add_done_callback(lambda _: self._group_slots.release())
            self._groups.append(task)
            await self._parsed.acquire()
        await self._wait_for_groups(keep=1)

    async def finish(self) -> BulkView:
        """Waits until all groups are stored, and returns the result. If storing a group failed, raises the error."""
        try:
            await self._wait_for_groups()
        finally:
            self.view.rejected.sort(key=lambda rejection: rejection.index)
        return self.view

    async def finish_or_raise_problem(self, error: Exception | None = None) -> BulkView:
        """Like `finish`, but if `finish` fails or `error` is given, raises a Problem with the result so far."""
        try:
            view = await self.finish()
        except Exception as failure:  # noqa: BLE001 - raised below as a Problem
            error = error or failure
        if error is None:
            return view
        problem = problem_for(error)
        detail = "The counted orders are done. Send all orders again: those that are stored count as duplicates."
        raise Problem(problem.kind, detail, members=self.view.members(), headers=problem.headers) from error

    async def _wait_for_groups(self, *, keep: int = 0) -> None:
        while len(self._groups) > keep:
            await self._groups.popleft()
        if self._error:
            raise self._error

    async def _write(self, orders: Sequence[tuple[int, NewOrder | bytes]]) -> None:
        try:
            group = await self._slices.run(self._parse(orders))
        finally:
            del orders
            self._parsed.release()
        await self._insert(group)
        await self._slices.run(_free(group.orders))

    def _parse(self, orders: Sequence[tuple[int, NewOrder | bytes]]) -> Steps[_Group]:
        group = _Group([], [])
        indexes: list[int] = []
        texts: list[bytes] = []
        for index, order in orders:
            if isinstance(order, NewOrder):
                group.indexes.append(index)
                group.orders.append(order)
            else:
                indexes.append(index)
                texts.append(order)
        begin = 0
        for results in parse_orders(texts):
            if results:
                self._add_results(group, indexes[begin : begin + len(results)], results)
                begin += len(results)
            yield
        return group

    def _add_results(self, group: _Group, indexes: Sequence[int], results: Sequence[ParsedOrder]) -> None:
        if set(map(type, results)) == {NewOrder}:  # the usual case, which this makes faster
            group.indexes.extend(indexes)
            group.orders.extend(cast(Sequence[NewOrder], results))
            return
        for index, parsed in zip(indexes, results, strict=True):
            if isinstance(parsed, NewOrder):
                group.indexes.append(index)
                group.orders.append(parsed)
            else:
                self.view.reject(index, parsed)
                self._instruments.count_intake(IntakeOutcome.INVALID)

    async def _insert(self, group: _Group) -> None:
        if not group.orders or self._error:
            return
        orders = group.orders
        if self._trace_headers:
            orders = [structs.replace(order, trace_headers=self._trace_headers) for order in orders]
        try:
            results = await self._service.insert_many(orders)
        except Exception as error:  # noqa: BLE001 - outermost exception handler of the task
            self._error = self._error or error  # `_wait_for_groups` raises this error
            if isinstance(error, QueueFullError | QueueClosedError):
                self._instruments.count_intake(IntakeOutcome.REFUSED, len(orders))
            return
        accepted = results.count(Insertion.ACCEPTED)
        self.view.accepted += accepted
        if accepted == len(results):
            return
        for index, order, result in zip(group.indexes, orders, results, strict=True):
            if result is Insertion.REPLAYED:
                self.view.duplicates += 1
            elif isinstance(result, Exception):
                self.view.reject(index, result, order.order_id)


def _free(orders: list[NewOrder]) -> Steps[None]:
    """Frees the orders in steps: freeing a thousand orders with a thousand items each takes several milliseconds."""
    while orders:
        del orders[-ORDERS_FREED_PER_STEP:]
        yield
