"""Waits until all orders are processed. Runs on the event loop."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import KW_ONLY, dataclass, field
from enum import Enum

from load.http.address import Address
from load.http.connection import Connection, NoResponse, send_request
from load.http.connections import DEFAULT_TIMEOUTS, Timeouts
from load.readback.metrics import Metrics, NoMetrics

POLL_WHILE_SENDING_S = 0.25
LONGEST_GAP_S = 1.0  # If the polls before and after the processing are further apart, `processed_ns` is None.
QUIET_S = 2.0  # If the metrics don't change for this long, `wait` ignores orders that the server had before the run.


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
