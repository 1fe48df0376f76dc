"""Polls the server's backlog before, during and after the sending of a run. Runs on the event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from load.backlog import Backlog, BacklogState, NoMetrics, NotAllowed
from load.http.address import Address, refuse_tls
from load.http.connection import NoResponse
from load.http.connections import Timeouts

LONGEST_GAP_S = 1.0
"""If two polls are further apart, the later one does not tell when the orders were processed."""


class Processing:
    """What the metrics say of the processing; only a hint, since the orders themselves are read back.

    `orders_before` is how many orders the server had before the run, None if it does not say. `processed_ns` is when
    the metrics said that all was processed, None if they did not, or not within a second of it. `seen` is called with
    the backlog at every poll.
    """

    def __init__(
        self, address: Address, *, timeouts: Timeouts, clock_ns: Callable[[], int], seen: Callable[[int], None]
    ) -> None:
        self.orders_before: int | None = None
        self.processed_ns: int | None = None
        self._address = address
        self._backlog = Backlog(address, timeouts=timeouts, clock_ns=clock_ns, seen=self._note)
        self._timeouts = timeouts
        self._clock_ns = clock_ns
        self._seen = seen
        self._waiting_before = 0
        self._polled_ns = 0
        self._gap_ns = 0
        self._deadline: asyncio.Timeout | None = None
        self._is_silent = False

    @property
    def left(self) -> int:
        """How many orders waited at the last poll."""
        return self._backlog.left

    async def look_first(self) -> None:
        """Find out how many orders there are before the run. NotAllowed if an API key is missing."""
        try:
            async with asyncio.timeout(self._timeouts.connection_s):
                metrics = await self._backlog.look()
        except NotAllowed:
            raise
        except NoResponse:
            self._backlog.close()
            await refuse_tls(self._address.url, timeout_s=self._timeouts.connection_s)
        except (NoMetrics, TimeoutError):
            # A server without metrics may still take orders, and a slow one is what is to be measured.
            self._backlog.close()
        else:
            self.orders_before, self._waiting_before = metrics.orders, metrics.waiting

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Poll while the block runs, at least once if the server answers."""
        end = asyncio.Event()
        watch = asyncio.create_task(self._backlog.watch(end))
        try:
            yield
            end.set()
            _, unfinished = await asyncio.wait({watch}, timeout=self._timeouts.connection_s)
            self._is_silent = bool(unfinished)
        finally:
            if watch.cancel():
                self._backlog.close()

    async def wait(self) -> BacklogState:
        """Wait until the metrics say that all is processed; UNKNOWN as soon as they get no response."""
        if self._is_silent:
            return BacklogState.UNKNOWN
        self._polled_ns = self._clock_ns()
        try:
            async with asyncio.timeout(self._timeouts.connection_s) as self._deadline:
                state = await self._backlog.wait(before=self._waiting_before)
        except TimeoutError:
            return BacklogState.UNKNOWN
        finally:
            self._deadline = None
        if state is BacklogState.PROCESSED and self._gap_ns <= LONGEST_GAP_S * 1e9:
            self.processed_ns = self._backlog.changed_ns
        return state

    def close(self) -> None:
        """Close the connection; may be called twice."""
        self._backlog.close()

    def _note(self, waiting: int) -> None:
        now_ns = self._clock_ns()
        self._gap_ns, self._polled_ns = now_ns - self._polled_ns, now_ns
        if self._deadline is not None:
            self._deadline.reschedule(asyncio.get_running_loop().time() + self._timeouts.connection_s)
        self._seen(waiting)
