"""Polls GET /metrics until no orders are left to be processed. Runs on the event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import KW_ONLY, dataclass, field
from enum import Enum
from typing import Any, Self

from load.cli.errors import CommandError
from load.cli.flags import HIGHEST
from load.http.address import Address
from load.http.connection import Connection, NoResponse, Response, send_request
from load.http.connections import Timeouts
from load.orders.comparison import BadJson, decode_json

POLL_WHILE_SENDING_S = 0.25
LONGEST_GAP_S = 1.0  # If two polls are further apart, the later one does not tell when the orders were processed.
QUIET_S = 2.0
"""If orders from before the run do not change for this long, they are assumed to wait for a later time."""
OPTIONAL_COUNTS = ("failed_orders", "cancelled_orders")


class NoMetrics(CommandError):
    """The response does not say how many orders wait."""


class NotAllowed(NoMetrics):
    """The server rejected the API key, or a request without one; `status` is 401 or 403."""

    def __init__(self, status: int) -> None:
        super().__init__(f"GET /metrics: status {status}")
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Numbers of orders: `waiting` for processing or in it, `completed`, and `finished` in any status."""

    waiting: int
    completed: int
    finished: int

    @property
    def orders(self) -> int:
        """All orders, in any status."""
        return self.waiting + self.finished

    @classmethod
    def parse(cls, response: Response) -> Self:
        """Read a response; NoMetrics if a count is missing or is not a whole number from 0 on."""
        if response.status in (401, 403):
            raise NotAllowed(response.status)
        if response.status != 200:
            raise NoMetrics(f"GET /metrics: status {response.status}")
        counts = None
        with suppress(BadJson):
            counts = decode_json(response.body)
        if not isinstance(counts, dict):
            raise NoMetrics("GET /metrics: not a JSON object")
        completed = _count(counts, "completed_orders")
        return cls(
            waiting=_count(counts, "pending_orders") + _count(counts, "processing_orders"),
            completed=completed,
            finished=completed + sum(_count(counts, name) for name in OPTIONAL_COUNTS if name in counts),
        )


def _count(counts: dict[str, Any], name: str) -> int:
    count = counts.get(name)
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= HIGHEST:
        raise NoMetrics(f"GET /metrics: {name} is missing or no number of orders")
    return count


class BacklogState(Enum):
    """What the metrics say: all orders are processed, nothing changes any more, or there are no metrics."""

    PROCESSED = "processed"
    STUCK = "stuck"
    UNKNOWN = "unknown"


@dataclass
class Backlog:
    """The orders that the server has not processed yet, those of other clients included.

    `left` is their number at the last poll, and `on_poll` is called with it after each poll. `changed_ns` is when
    `wait` last saw the metrics change. `processed_ns` is when the metrics first said that all orders are processed;
    None if they never did, or if the poll before was over a second earlier. All this is a hint only: the orders are
    read back, too.
    """

    address: Address
    _: KW_ONLY
    timeouts: Timeouts
    clock_ns: Callable[[], int]
    on_poll: Callable[[int], None] = lambda waiting: None
    left: int = field(default=0, init=False)
    changed_ns: int = field(default=0, init=False)
    processed_ns: int | None = field(default=None, init=False)
    _is_silent: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._connection = Connection(self.address)

    async def poll(self, *, limit_s: float | None = None) -> Metrics:
        """Request the metrics once; NoResponse or NoMetrics if that fails. The limit is by default `answer_s`."""
        limit_s = self.timeouts.answer_s if limit_s is None else limit_s
        metrics = Metrics.parse(await send_request(self._connection, self.address.get("/metrics"), limit_s=limit_s))
        self.left = metrics.waiting
        self.on_poll(metrics.waiting)
        return metrics

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Poll while the block runs, at least once if the server answers."""
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
        """Poll about four times a second, and at least once, until the end is set or there are no metrics."""
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
        """Poll until all orders are processed, or until as many have finished as were waiting at the first poll.

        The second condition is for servers that get orders from other clients, too. Also ends if no more orders wait
        than `before` the load and the metrics do not change: orders of other clients may wait for hours. UNKNOWN if the
        server does not answer, or did not answer while orders were sent. `limit_s` is as for `poll`.
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
