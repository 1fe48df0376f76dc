"""Parses and stores the orders of one `POST /orders`, in groups. Runs on the event loop."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple, cast

from msgspec import structs

from handlers.metrics.instruments import Instruments, IntakeOutcome
from handlers.orders.bulk_view import BulkView
from handlers.orders.time_slices import TimeSlices
from handlers.problems.problem import Problem, problem_for
from handlers.service import Service
from models.errors import QueueClosedError, QueueFullError
from models.parsing.bulk import ParsedOrder, ParsedPart, parse_elements, parse_lines
from models.parsing.lines import LineBlock
from models.parsing.packed_orders import PackedOrders
from models.parsing.steps import Steps
from models.writes.insertion import Insertion, NewOrder

ORDERS_FREED_PER_STEP = 50


class _Group(NamedTuple):
    """Valid orders, and lists that together have the position of each order in the request."""

    indexes: list[Sequence[int]]
    orders: Sequence[NewOrder]


class BulkInsert:
    """Stores the orders of one request. An invalid order does not affect the others.

    A group is the orders of one call of `add` or `add_lines`, stored in one commit. `group_slots` limits how many
    groups all requests together parse or store at a time. If storing a group fails, no further group is stored, and the
    following calls of these methods and of `finish` raise the error. Only one of these calls may run at a time.
    `trace_headers` is stored with each order: see `models/trace_headers.py`.
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
        """Starts to parse and store a group. Each item is an order or its text, and its position in the request.

        Returns when this group is parsed and the previous group is stored. So at most two groups of a request are in
        memory.
        """
        await self._add(parse_elements(orders) if orders else None)

    async def add_lines(self, block: LineBlock | None) -> None:
        """Like `add`, for lines of a stream."""
        await self._add(parse_lines(block) if block and block.text else None)

    async def _add(self, steps: Iterator[ParsedPart] | None) -> None:
        if steps and not self._error:
            await self._group_slots.acquire()
            task = asyncio.create_task(self._write(steps))
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

    async def _write(self, steps: Iterator[ParsedPart]) -> None:
        try:
            group = await self._slices.run(self._collect(steps))
        finally:
            del steps
            self._parsed.release()
        await self._insert(group)
        if isinstance(group.orders, list):
            await self._slices.run(_free(group.orders))

    def _collect(self, steps: Iterator[ParsedPart]) -> Steps[_Group]:
        indexes: list[Sequence[int]] = []
        packed: list[PackedOrders] = []
        orders: list[NewOrder] = []
        for numbers, results in steps:
            # An order with trace headers can't be packed.
            if isinstance(results, PackedOrders) and not self._trace_headers:
                indexes.append(numbers)
                packed.append(results)
            elif results:
                yield from _unpack(packed, orders)  # not all orders of the group can be packed
                self._add_results(indexes, orders, numbers, results)
            yield
        if packed and not orders:
            return _Group(indexes, PackedOrders.join(packed))
        yield from _unpack(packed, orders)
        return _Group(indexes, orders)

    def _add_results(
        self,
        indexes: list[Sequence[int]],
        orders: list[NewOrder],
        numbers: Sequence[int],
        results: Sequence[ParsedOrder],
    ) -> None:
        """Adds valid orders to `orders` and their positions to `indexes`. Rejects the others."""
        if set(map(type, results)) == {NewOrder}:  # the usual case: faster than the loop below
            indexes.append(numbers)
            orders += cast(Sequence[NewOrder], results)
            return
        for number, parsed in zip(numbers, results, strict=True):
            if isinstance(parsed, NewOrder):
                indexes.append((number,))
                orders.append(parsed)
            else:
                self.view.reject(number, parsed)
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
            self._error = self._error or error  # raised later, by `_wait_for_groups`
            if isinstance(error, QueueFullError | QueueClosedError):
                self._instruments.count_intake(IntakeOutcome.REFUSED, len(orders))
            return
        accepted = results.count(Insertion.ACCEPTED)
        self.view.accepted += accepted
        if accepted == len(results):
            return
        for index, order, result in zip(chain.from_iterable(group.indexes), orders, results, strict=True):
            if result is Insertion.REPLAYED:
                self.view.duplicates += 1
            elif isinstance(result, Exception):
                self.view.reject(index, result, order.order_id)


def _unpack(packed: list[PackedOrders], orders: list[NewOrder]) -> Steps[None]:
    """Moves the orders of `packed` to the end of `orders`, in steps."""
    for part in packed:
        orders += part
        yield
    packed.clear()


def _free(orders: list[NewOrder]) -> Steps[None]:
    """Frees the orders in steps: freeing a thousand orders with a thousand items each takes several milliseconds."""
    while orders:
        del orders[-ORDERS_FREED_PER_STEP:]
        yield
