"""Owns the looks at the server's backlog before, during and after the sending; on the event loop's thread."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from load.backlog import Backlog, BacklogState, NoMetrics, NotAllowed
from load.http.address import Address, refuse_tls
from load.http.connection import NoAnswer
from load.http.exchanges import Patience

EXACT_S = 1.0
"""Where a look took longer, it does not say when the orders were processed."""


class Processing:
    """What the metrics say of the processing; a hint, since the orders themselves are read back.

    `processed_ns` is when they said that all was processed; None where they did not, or not within a second of it.
    `seen` is called with the backlog at every look.
    """

    def __init__(
        self, address: Address, *, patience: Patience, clock_ns: Callable[[], int], seen: Callable[[int], None]
    ) -> None:
        self.processed_ns: int | None = None
        self._address = address
        self._backlog = Backlog(address, patience=patience, clock_ns=clock_ns, seen=self._note)
        self._patience = patience
        self._clock_ns = clock_ns
        self._seen = seen
        self._before = 0
        self._looked_ns = 0
        self._gap_ns = 0
        self._silence: asyncio.Timeout | None = None
        self._is_silent = False

    @property
    def left(self) -> int:
        """How many waited at the last look."""
        return self._backlog.left

    async def look_first(self) -> None:
        """Ask how many wait already, which also shows before an order is sent that a key is missing: NotAllowed."""
        try:
            async with asyncio.timeout(self._patience.connection_s):
                self._before = (await self._backlog.look()).waiting
        except NotAllowed:
            raise
        except NoAnswer:
            self._backlog.close()
            await refuse_tls(self._address.url, timeout_s=self._patience.connection_s)
        except (NoMetrics, TimeoutError):
            # A server without metrics may take orders all the same, and one that is slow is what is to be measured.
            self._backlog.close()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look now and then while the block runs, once at least where the server answers that."""
        end = asyncio.Event()
        watch = asyncio.create_task(self._backlog.watch(end))
        try:
            yield
            end.set()
            _, silent = await asyncio.wait({watch}, timeout=self._patience.connection_s)
            self._is_silent = bool(silent)
        finally:
            if watch.cancel():
                self._backlog.close()

    async def wait(self) -> BacklogState:
        """Wait until all is processed as far as the metrics tell; UNKNOWN as soon as they fall silent."""
        if self._is_silent:
            return BacklogState.UNKNOWN
        self._looked_ns = self._clock_ns()
        try:
            async with asyncio.timeout(self._patience.connection_s) as self._silence:
                state = await self._backlog.wait(before=self._before)
        except TimeoutError:
            return BacklogState.UNKNOWN
        finally:
            self._silence = None
        if state is BacklogState.PROCESSED and self._gap_ns <= EXACT_S * 1e9:
            self.processed_ns = self._backlog.moved_ns
        return state

    def close(self) -> None:
        """Close the connection; may be called twice."""
        self._backlog.close()

    def _note(self, waiting: int) -> None:
        now_ns = self._clock_ns()
        self._gap_ns, self._looked_ns = now_ns - self._looked_ns, now_ns
        if self._silence is not None:
            self._silence.reschedule(asyncio.get_running_loop().time() + self._patience.connection_s)
        self._seen(waiting)
