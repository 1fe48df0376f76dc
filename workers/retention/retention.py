"""Archives and deletes orders that are older than `--keep`, in small batches. Runs on the event loop.

Finds the orders and writes the archive on a thread of its own. The deletes are part of the batches of the writer
thread. After each batch, pauses for a multiple of the time that the batch took, so that requests are hardly delayed.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from msgspec.structs import replace

from models.clock import Clock
from models.errors import QueueClosedError, QueueFullError, StorageError
from models.order import Order
from models.store import Store
from models.transactions.archiving import ExpiredOrders, archive_orders
from models.writes.archiving import ArchiveMember, ArchiveOrders
from models.writes.attempts import FinishAndClaim
from models.writes.write import AnyWrite
from workers.batcher import WriteBatcher
from workers.call_thread import CallThread
from workers.retention.archive import Archive, ArchiveError
from workers.retention.settings import OrderLines, RetentionSettings
from workers.safe_log import log_safely

BATCH = 2_048
"""The maximum number of orders that one transaction deletes: those of a block of the store (`models/README.md`). It
delays the requests of its commit by some milliseconds. Several smaller transactions would delay more requests."""
FIRST_BATCH = 256
MAX_BYTES = 1 << 20
"""If the lines of a batch in the archive have more bytes, the next batch has fewer orders."""
PAUSE_FACTOR = 399.0
"""How long the pause after a batch is, as a multiple of the time that the batch took. So batches delay less than one of
a hundred requests, although a sync of the archive can delay commits, and the threads wait for each other's use of the
interpreter."""
LONGEST_PAUSE_S = 30.0
"""The maximum pause while orders are written. Without it, a batch that waits 10 seconds for a disk or a lock would stop
retention for over an hour, while the database grows. Batches of up to 0.3 s still delay one of a hundred requests."""
IDLE_PAUSE_FACTOR = 1.0
"""The same, while nothing else is written."""
IDLE_S = 1.0
"""How many seconds must pass without another write before IDLE_PAUSE_FACTOR applies."""
LONGEST_INTERVAL_S = 60.0
"""The maximum number of seconds between two searches for orders that have expired."""
SEARCHES_A_KEEP = 10
FAILURE_S = 10.0
"""How many seconds pass after a failure before the next batch."""

_log = logging.getLogger("orders.retention")


def pause_s(batch_s: float) -> float:
    """The pause in seconds after a batch that took `batch_s` seconds, while orders are written."""
    return min(batch_s * PAUSE_FACTOR, LONGEST_PAUSE_S)


class Retention:
    """Archives and deletes old orders until `close`. `lines` encodes orders, `monotonic` returns monotonic seconds."""

    def __init__(
        self,
        settings: RetentionSettings,
        *,
        store: Store,
        writes: WriteBatcher,
        lines: OrderLines,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keep_us = settings.keep_s * 1_000_000
        self._interval_s = min(LONGEST_INTERVAL_S, settings.keep_s / SEARCHES_A_KEEP)
        self._archive = None if settings.archive is None else Archive(settings.archive)
        self._store = store
        self._writes = writes
        self._lines = lines
        self._clock = clock
        self._monotonic = monotonic
        self._thread = CallThread("archiver")
        self._task: asyncio.Task[None] | None = None
        self._batch: asyncio.Task[int | None] | None = None
        self._last_write_s = monotonic()
        self._limit = FIRST_BATCH
        self._is_settled = False
        self._is_failing = False
        self._is_closed = False

    async def open(self) -> None:
        """Connects the thread to the store, and locks the archive. Raises StartRefusedError or a StorageError."""
        await self._thread.run(self._store.connect)
        if self._archive is not None:
            await self._thread.run(self._archive.open)

    def start(self) -> None:
        """Begins to search for old orders."""
        self._task = asyncio.create_task(self._run())

    def note_writes(self, items: Sequence[AnyWrite]) -> None:
        """Must be called after each write to the store."""
        if any(map(_is_work, items)):
            self._last_write_s = self._monotonic()

    def abandon(self) -> None:
        """Stops the thread without disconnecting it. Can be called twice."""
        self._thread.close()

    def close_in_child(self) -> None:
        """Closes the lock of the archive. Must be called in every forked child."""
        if self._archive is not None:
            self._archive.close()

    async def close(self) -> None:
        """Finishes the batch in progress, and disconnects the thread. Must be called before the store is closed.

        A second call does nothing.
        """
        if self._is_closed:
            return
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self._batch is not None:
            # A batch that fails now is settled at the next start.
            await asyncio.gather(self._batch, return_exceptions=True)
        await self._thread.run(self._disconnect)
        self._thread.close()

    def _disconnect(self) -> None:
        if self._archive is not None:
            self._archive.close()
        self._store.disconnect()

    async def _run(self) -> None:
        after: int | None = 0
        while True:
            begin_s = self._monotonic()
            try:
                self._batch = asyncio.create_task(self._archive_after(after or 0))
                after = await asyncio.shield(self._batch)
                self._note_success()
                if after is None:
                    await asyncio.sleep(self._interval_s)
                else:
                    await self._pause(self._monotonic() - begin_s)
                continue
            except QueueClosedError:
                return
            except (StorageError, QueueFullError, ArchiveError) as error:
                self._note_failure(error)
            except Exception as error:  # noqa: BLE001 - outermost exception handler of the task
                log_safely(_log, logging.ERROR, "orders could not be archived", error=error)
            await asyncio.sleep(FAILURE_S)

    async def _pause(self, batch_s: float) -> None:
        """Pauses after a batch that took this number of seconds. Ends the pause earlier if nothing is written."""
        await asyncio.sleep(batch_s * IDLE_PAUSE_FACTOR)
        end_s = self._monotonic() + pause_s(batch_s) - batch_s * IDLE_PAUSE_FACTOR
        while (left_s := end_s - self._monotonic()) > 0 and not self._is_idle:  # noqa: ASYNC110 - nothing signals idleness
            await asyncio.sleep(min(left_s, IDLE_S))

    @property
    def _is_idle(self) -> bool:
        return self._monotonic() - self._last_write_s > IDLE_S

    async def _archive_after(self, after: int) -> int | None:
        """Archives a batch of the orders after this sequence. Returns where to continue; None after the last order."""
        if not self._is_settled:
            await self._thread.run(self._settle)
            self._is_settled = True
        if not await self._thread.run(self._store.may_archive):
            return None
        ended_before_us = self._clock.wall_time() - self._keep_us
        expired = await self._thread.run(self._find_expired, ended_before_us, after)
        if expired.orders:
            # Until the result is known, the last member of the archive is not confirmed.
            self._is_settled = False
            command, lines = await self._thread.run(self._encode, expired.orders)
            if self._archive is not None:
                command = replace(command, member=await self._thread.run(self._append, self._archive, lines))
            if not await self._writes.submit(command, size=len(expired.orders)):
                return after  # one of these orders was erased in the meantime
            self._is_settled = True
        return expired.last

    def _settle(self) -> None:
        if self._archive is not None:
            self._archive.settle(self._store.last_member(self._archive.id), self._are_known)

    def _are_known(self, order_ids: Sequence[int]) -> bool:
        return None not in self._store.find(order_ids)

    def _find_expired(self, ended_before_us: int, after: int) -> ExpiredOrders:
        return self._store.find_expired(ended_before_us=ended_before_us, after=after, limit=self._limit)

    def _encode(self, orders: Sequence[Order]) -> tuple[ArchiveOrders, list[bytes]]:
        """The write that archives the orders, and their lines. Also chooses how many orders the next batch has."""
        lines = list(map(self._lines, orders))
        self._limit = max(1, min(BATCH, len(lines) * MAX_BYTES // sum(map(len, lines))))
        return archive_orders(orders), lines

    def _append(self, archive: Archive, lines: Sequence[bytes]) -> ArchiveMember:
        return ArchiveMember(archive.id, archive.append(lines, self._clock.wall_time()))

    def _note_failure(self, error: Exception) -> None:
        if not self._is_failing:
            _log.warning("old orders can't be archived, and are kept: %s", error)
        self._is_failing = True

    def _note_success(self) -> None:
        if self._is_failing:
            _log.info("old orders are archived again")
        self._is_failing = False


def _is_work(write: AnyWrite) -> bool:
    """False for the writes of the retention itself, and for the claims that follow them."""
    return write.has_outcomes if isinstance(write, FinishAndClaim) else not isinstance(write, ArchiveOrders)
