"""Waits until all orders are processed, reads orders back, and compares them. Runs on the event loop."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import KW_ONLY, dataclass, field
from enum import Enum
from itertools import groupby
from typing import Annotated, Any, Self

import msgspec

from load.cli.errors import CommandError
from load.cli.flags import HIGHEST
from load.http.address import Address
from load.http.connection import Connection, NoResponse, Response, send_once, send_request
from load.http.connections import DEFAULT_TIMEOUTS, Connections, RequestTiming, Timeouts
from load.orders.comparison import BadJson, decode_json, difference_in, find_contradiction
from load.orders.sources import OrderSource
from load.results.result import ReadBackResult

POLL_WHILE_SENDING_S = 0.25
LONGEST_GAP_S = 1.0  # If the polls before and after the processing are further apart, `processed_ns` is None.
GONE = 410  # The status for an order that has left the database because of the server's flag --keep.
QUIET_S = 2.0  # If the metrics don't change for this long, `wait` ignores orders that the server had before the run.
Count = Annotated[int, msgspec.Meta(ge=0, le=HIGHEST)]
TERMINAL_STATUSES = frozenset({"Completed", "Failed", "Cancelled"})


class NoMetrics(CommandError):
    """The response to GET /metrics does not have the counts of orders."""


class NotAllowed(NoMetrics):
    """The server rejected the API key, or requires one. `status` is 401 or 403."""

    def __init__(self, status: int) -> None:
        super().__init__(f"GET /metrics: status {status}")
        self.status = status


class Metrics(msgspec.Struct, frozen=True):
    """The numbers of orders by status, as in the response to GET /metrics.

    `archived_orders` of them have left the database.
    """

    pending_orders: Count
    processing_orders: Count
    completed_orders: Count
    failed_orders: Count = 0
    cancelled_orders: Count = 0
    archived_orders: Count = 0

    @property
    def waiting(self) -> int:
        """The number of orders that are not processed: they are Pending or Processing."""
        return self.pending_orders + self.processing_orders

    @property
    def finished(self) -> int:
        return self.completed_orders + self.failed_orders + self.cancelled_orders

    @property
    def orders(self) -> int:
        """The number of orders in any status."""
        return self.waiting + self.finished

    @classmethod
    def parse(cls, response: Response) -> Self:
        """Read a response to GET /metrics. Raises NoMetrics unless each count is a whole number of at least 0."""
        if response.status in (401, 403):
            raise NotAllowed(response.status)
        if response.status != 200:
            raise NoMetrics(f"GET /metrics: status {response.status}")
        try:
            return msgspec.json.decode(response.body, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            raise NoMetrics(f"GET /metrics: {problem}") from None


async def count_received(receiver: Address) -> int:
    """Return how many requests a reference server has received, without this one. Raises the errors of `send_once`."""
    return int((await send_once(receiver, receiver.get("/"))).body) - 1


async def read_metrics(address: Address) -> Metrics:
    """Request the metrics on a new connection. Raises NoResponse or NoMetrics."""
    return Metrics.parse(await send_once(address, address.get("/metrics")))


class BacklogState(Enum):
    """Why `Backlog.wait` returned: all orders are processed, the counts do not change any more, or can't be read."""

    PROCESSED = "processed"
    STUCK = "stuck"
    UNKNOWN = "unknown"


@dataclass
class Backlog:
    """Polls GET /metrics for the backlog: how many orders, of this client or any other, are not processed yet.

    `left` is the backlog at the last poll. `on_poll` is called with the backlog after each poll. `changed_ns` is when
    `wait` last saw the metrics change. `processed_ns` is the time of the first poll at which all orders were processed.
    `processed_ns` is None if there was no such poll, or if the poll before it was over a second earlier.
    """

    address: Address
    _: KW_ONLY
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    clock_ns: Callable[[], int] = time.perf_counter_ns
    on_poll: Callable[[int], None] = lambda waiting: None
    left: int = field(default=0, init=False)
    changed_ns: int = field(default=0, init=False)
    processed_ns: int | None = field(default=None, init=False)
    _is_silent: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._connection = Connection(self.address)

    async def poll(self, *, limit_s: float | None = None) -> Metrics:
        """Request the metrics once. Raises NoResponse or NoMetrics. The default of `limit_s` is `timeouts.answer_s`."""
        limit_s = self.timeouts.answer_s if limit_s is None else limit_s
        metrics = Metrics.parse(await send_request(self._connection, self.address.get("/metrics"), limit_s=limit_s))
        self.left = metrics.waiting
        self.on_poll(metrics.waiting)
        return metrics

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Poll in the background while the block runs. After the block, wait a limited time for the current poll."""
        end = asyncio.Event()
        watch = asyncio.create_task(self._watch(end))
        try:
            yield
            end.set()
            _, unfinished = await asyncio.wait({watch}, timeout=self.timeouts.connection_s)
            self._is_silent = bool(unfinished)
        finally:
            if watch.cancel():
                self.close()

    async def _watch(self, end: asyncio.Event) -> None:
        """Poll about four times a second, and at least once, until `end` is set or a poll raises NoMetrics."""
        while True:
            try:
                await self.poll()
            except NoMetrics:
                return
            except NoResponse:
                pass
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_WHILE_SENDING_S):
                    await end.wait()
            if end.is_set():
                return

    async def wait(self, *, before: int, limit_s: float | None = None) -> BacklogState:
        """Poll until no order waits, or until N orders have finished, where N orders waited at the first poll.

        The second condition is for servers that also get orders from other clients. `before` is how many orders waited
        before the load. Such orders can wait for hours, so polling also ends if at most `before` orders wait and the
        metrics do not change. Returns UNKNOWN if the server does not respond or has no metrics.
        """
        first: Metrics | None = None
        seen: Metrics | None = None
        answered_ns = self.changed_ns = self.clock_ns()
        quiet_ns = min(QUIET_S, self.timeouts.processing_s) * 1e9
        while not self._is_silent:
            try:
                now = await self.poll(limit_s=limit_s)
            except NoMetrics:
                break
            except NoResponse:
                if self.clock_ns() - answered_ns > self.timeouts.connection_s * 1e9:
                    break
            else:
                first = first or now
                before_ns, answered_ns = answered_ns, self.clock_ns()
                if now != seen:
                    seen, self.changed_ns = now, answered_ns
                unchanged_ns = answered_ns - self.changed_ns
                is_quiet = now.waiting <= before and unchanged_ns > quiet_ns
                if now.waiting == 0 or now.finished - first.finished >= first.waiting or is_quiet:
                    is_exact = answered_ns - before_ns <= LONGEST_GAP_S * 1e9
                    self.processed_ns = self.changed_ns if is_exact else None
                    return BacklogState.PROCESSED
                if unchanged_ns > self.timeouts.processing_s * 1e9:
                    return BacklogState.STUCK
            await asyncio.sleep(self.timeouts.poll_s)
        return BacklogState.UNKNOWN

    def close(self) -> None:
        self._connection.close()


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
