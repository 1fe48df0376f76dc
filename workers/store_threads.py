"""The threads that use the store, and their queues. All public methods run on the event loop."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from models.changes.feed import FeedRead
from models.database.health import StorageStatus, Work
from models.errors import StorageError
from models.listing import Listing, Page
from models.measurements import Measurement
from models.order import Attempt, AttemptRecord, Order, Totals
from models.store import Store
from models.writes.attempts import Outcome
from models.writes.result import WriteResult
from models.writes.write import AnyWrite
from workers.batcher import Batcher, BatchHooks, WriteBatcher
from workers.call_thread import CallThread
from workers.observer import ServiceObserver

MAX_BATCH = 2_000
"""The number of orders at which a batch of writes is full."""
MAX_SENT = 2
"""The number of batches of writes that the writer thread has at a time: a running batch, and a full batch that
waits."""
MAX_HISTORIES = 50
"""The maximum number of histories that one call reads. Such a call takes about as long as a call that finds 1,000
orders."""
MAX_WAITING = 10_000
"""The maximum number of reads that wait in each queue. `max_intake` limits the queue of writes."""


class StoreThreads:
    """A thread for writes, a thread for reads and a thread for listings, each with its own connection to the store.

    The database allows one writer at a time, so a second writing thread would only wait. Listings have a separate
    thread, because a long listing would delay other reads.
    """

    def __init__(
        self, store: Store, *, observer: ServiceObserver, hooks: BatchHooks, max_intake: int, max_backlog: int
    ) -> None:
        self.store = store
        self._max_backlog = max_backlog
        self._observer = observer
        self._writer = CallThread("writer")
        self._reader = CallThread("reader")
        self._lister = CallThread("lister")
        self.writes = WriteBatcher(
            self._writer, self._write, max_waiting=max_intake, max_batch=MAX_BATCH, max_sent=MAX_SENT, hooks=hooks
        )
        self._probes = {
            Work.WRITES: self._new_probes(self._writer, Work.WRITES),
            Work.READS: self._new_probes(self._reader, Work.READS),
        }
        self.finds: Batcher[int, Order | None] = Batcher(self._reader, store.find, max_waiting=MAX_WAITING)
        self.histories: Batcher[int, list[AttemptRecord] | None] = Batcher(
            self._reader, self._read_histories, max_waiting=MAX_WAITING, max_batch=MAX_HISTORIES
        )
        self.totals: Batcher[None, Totals] = Batcher(self._reader, self._read_totals, max_waiting=MAX_WAITING)
        self.statuses: Batcher[None, StorageStatus] = Batcher(
            self._reader, self._read_statuses, max_waiting=MAX_WAITING
        )
        self.tends: Batcher[None, bool] = Batcher(self._writer, self._tend, max_waiting=MAX_WAITING)
        # Each save and each read is a call of its own: there is one of each in a minute.
        self.measurement_saves: Batcher[tuple[Sequence[Measurement], int], None] = Batcher(
            self._writer, self._save_measurements, max_waiting=MAX_WAITING, max_batch=1
        )
        self.measurements: Batcher[int, list[Measurement]] = Batcher(
            self._reader, self._read_measurements, max_waiting=MAX_WAITING, max_batch=1
        )
        self.feed: Batcher[None, FeedRead | None] = Batcher(self._reader, self._read_feed, max_waiting=MAX_WAITING)
        self.ends: Batcher[Sequence[int], Sequence[int]] = Batcher(
            self._reader, self._read_ends, max_waiting=MAX_WAITING
        )
        # One listing per call: the result of a short listing must not wait until the listings after it are done.
        self.listings: Batcher[Listing, Page] = Batcher(
            self._lister, self._read_pages, max_waiting=MAX_WAITING, max_batch=1
        )
        # On the thread of listings: a checkpoint of a long WAL takes some time, and only listings can wait that long.
        self.maintenance: Batcher[None, None] = Batcher(self._lister, self._maintain, max_waiting=MAX_WAITING)
        # On the writer thread, so that no write prevents that the WAL is emptied.
        self.scrubs: Batcher[None, bool] = Batcher(self._writer, self._scrub, max_waiting=MAX_WAITING)
        self._closed = False

    async def open(self, outcome_of: Callable[[Attempt], Outcome], *, longest_delay_us: int) -> int:
        """Connects the threads, and recovers and probes the store. Returns the number of recovered attempts.

        A probe that fails is only logged: the server must start even if a part of the database is damaged, because
        orders in the other parts can still be read.
        """
        try:
            for thread in (self._writer, self._reader, self._lister):
                await thread.run(self.store.connect)
            recovered = await self._writer.run(
                partial(self.store.recover, longest_delay_us=longest_delay_us), outcome_of
            )
            for work in Work:
                with contextlib.suppress(StorageError):
                    await self.probe(work)
        except BaseException:
            self.abandon()
            raise
        return recovered

    def probe(self, work: Work) -> asyncio.Future[None]:
        """Tests this kind of work on the thread that does it. The future ends with a StorageError if the test fails."""
        return self._probes[work].submit(None)

    def abandon(self) -> None:
        """Stops the threads without disconnecting them, so that the process can exit. Can be called twice."""
        for thread in (self._writer, self._reader, self._lister):
            thread.close()

    async def close(self) -> None:
        """Finishes all accepted requests, then disconnects the threads and closes the store. Can be called twice."""
        batchers: list[Batcher[Any, Any]] = [
            *self._probes.values(),
            self.finds,
            self.histories,
            self.totals,
            self.statuses,
            self.maintenance,
            self.scrubs,
            self.tends,
            self.measurement_saves,
            self.measurements,
            self.feed,
            self.ends,
        ]
        for batcher in (self.writes, *batchers, self.listings):
            await batcher.close()
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(StorageError):
            await self._writer.run(self.store.maintain)
        for thread in (self._reader, self._lister, self._writer):
            await thread.run(self.store.disconnect)
            thread.close()
        self.store.close()

    def _write(self, batch: Sequence[AnyWrite]) -> list[WriteResult]:
        begin_s = time.perf_counter()
        try:
            return self.store.write(batch, max_pending=self._max_backlog)
        finally:
            self._observer.commit_ended(time.perf_counter() - begin_s)

    def _new_probes(self, thread: CallThread, work: Work) -> Batcher[None, None]:
        def probe(requests: Sequence[None]) -> list[None]:
            self.store.probe(work)
            return [None] * len(requests)

        return Batcher(thread, probe, max_waiting=MAX_WAITING)

    def _read_histories(self, order_ids: Sequence[int]) -> list[list[AttemptRecord] | StorageError | None]:
        return [self._read_history(order_id) for order_id in order_ids]

    def _read_history(self, order_id: int) -> list[AttemptRecord] | StorageError | None:
        try:
            return self.store.history(order_id)
        except StorageError as error:  # the histories of other orders can be read
            return error

    def _tend(self, requests: Sequence[None]) -> list[bool]:
        return [self.store.tend()] * len(requests)

    def _save_measurements(self, saves: Sequence[tuple[Sequence[Measurement], int]]) -> list[None]:
        for measurements, now_s in saves:
            self.store.save_measurements(measurements, now_s=now_s)
        return [None] * len(saves)

    def _read_measurements(self, times_s: Sequence[int]) -> list[list[Measurement]]:
        return [self.store.measurements(since_s=since_s) for since_s in times_s]

    def _read_feed(self, requests: Sequence[None]) -> list[FeedRead | None]:
        # `FeedPolling` has one request at a time, so no part of the feed goes to the wrong request.
        return [self.store.feed.read() if self.store.feed else None for _ in requests]

    def _read_ends(self, requests: Sequence[Sequence[int]]) -> list[Sequence[int]]:
        return [self.store.feed.ended(order_ids) if self.store.feed else () for order_ids in requests]

    def _maintain(self, requests: Sequence[None]) -> list[None]:
        self.store.maintain()
        return [None] * len(requests)

    def _scrub(self, requests: Sequence[None]) -> list[bool]:
        return [self.store.scrub()] * len(requests)

    def _read_totals(self, requests: Sequence[None]) -> list[Totals]:
        return [self.store.totals()] * len(requests)

    def _read_statuses(self, requests: Sequence[None]) -> list[StorageStatus]:
        return [self.store.status()] * len(requests)

    def _read_pages(self, listings: Sequence[Listing]) -> list[Page]:
        return [self.store.list_orders(listing) for listing in listings]
