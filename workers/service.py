"""The order service: everything between the HTTP handlers and the store.

The path of an order: `insert` → Intake → WriteBatcher → the store, on the writer thread → the Dispatcher claims it →
the AttemptRunner → the Dispatcher records the outcome. Every public method runs on the event loop.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence

from models.changes.order_changes import TERMINAL_STATUSES, changes_in
from models.clock import Clock
from models.database.health import StorageStatus, Work
from models.errors import OrderArchivedError, QueueClosedError, QueueFullError, StorageBusyError, StorageError
from models.listing import Listing, Page
from models.order import AttemptRecord, Order, Totals
from models.store import Store
from models.writes.attempts import ClaimedOrders, FinishAndClaim
from models.writes.commands import (
    Cancel,
    Erase,
    RetriedOrders,
    Retry,
    RetryOrders,
    RetrySelection,
    SetPaused,
    StatusChanged,
)
from models.writes.insertion import Insertion, InsertResult, NewOrder
from models.writes.result import WriteResult
from models.writes.waiter import Waiter
from models.writes.write import AnyWrite
from workers.backoff import Backoff
from workers.dispatch.dispatcher import Dispatcher
from workers.dispatch.failure_log import FailureLog
from workers.dispatch.retries import LONGEST_DELAY_US, RetryPolicy
from workers.idle_maintenance import IdleMaintenance
from workers.intake import Intake
from workers.observer import ServiceObserver
from workers.periodic_tasks import PeriodicTasks
from workers.processors.claim_gate import ClaimGate, OpenGate
from workers.processors.processor import AttemptRunner
from workers.retention.retention import Retention
from workers.retention.settings import OrderLines, RetentionSettings
from workers.service_limits import ServiceLimits
from workers.sharing.sharing import DatabaseSharing
from workers.store_threads import StoreThreads
from workers.waiters import CompletionWaiters

SCRUB_S = 10.0
"""How many seconds `erase` waits until the files of the database can be cleaned."""
SCRUB_INTERVAL_S = 0.02

_log = logging.getLogger("orders")


class OrderService:
    """Stores, finds and processes orders. Call `open`, `start`, `stop` and `close`, in this order.

    Methods that use the store can raise StorageError, QueueFullError if too many requests wait, and QueueClosedError
    after `close`. `gate` limits how many orders are processed at a time; without a gate, the capacity of
    `runner` is the only limit. Without `retention`, all orders are kept. `lines` encodes orders for the archive.
    """

    def __init__(
        self,
        *,
        store: Store,
        runner: AttemptRunner,
        observer: ServiceObserver,
        limits: ServiceLimits,
        clock: Clock,
        gate: ClaimGate | None = None,
        retention: RetentionSettings | None = None,
        lines: OrderLines | None = None,
    ) -> None:
        self._store = store
        self._observer = observer
        self._limits = limits
        self._gate = gate or OpenGate()
        self._threads = StoreThreads(
            store, observer=observer, hooks=self, max_intake=limits.max_intake, max_backlog=limits.max_backlog
        )
        self._intake = Intake(writes=self._threads.writes)
        self._waiters = CompletionWaiters(max_waiting=limits.max_waiters)
        self._runner = runner
        self._retry_policy = RetryPolicy(
            max_attempts=limits.max_attempts, backoff=Backoff(first_s=1.0, max_s=3_600.0), clock=clock
        )
        failures = FailureLog(clock=time.monotonic)
        self._dispatcher = Dispatcher(
            queue=self._intake,
            runner=runner,
            retry_policy=self._retry_policy,
            failures=failures,
            storage_backoff=Backoff(first_s=0.1, max_s=5.0),
            clock=clock,
            gate=self._gate,
            observer=observer,
        )
        self._maintenance = IdleMaintenance(self._threads.maintenance)
        self._periodic = PeriodicTasks(
            store=store,
            threads=self._threads,
            observer=observer,
            failures=failures,
            runner=runner,
            gate=self._gate,
            maintenance=self._maintenance,
            clock=clock,
        )
        self._sharing = DatabaseSharing(
            self._threads, observer=observer, waiters=self._waiters, dispatcher=self._dispatcher, gate=self._gate
        )
        self._retention = (
            Retention(retention, store=store, writes=self._threads.writes, lines=lines, clock=clock)
            if retention and lines
            else None
        )
        self._retrying_selected = asyncio.Lock()

    # Life cycle

    async def open(self) -> None:
        """Connects the threads to the store, and ends the attempts that a crash interrupted."""
        recovered = await self._threads.open(self._retry_policy.after_crash, longest_delay_us=LONGEST_DELAY_US)
        if recovered:
            _log.info("recovered %d attempts that were interrupted when the previous process ended", recovered)

        if self._retention:
            await self._retention.open()

    async def start(self) -> None:
        """Begins to process orders and to report to the observer each second."""
        if self._store.is_paused:
            _log.warning("processing is paused: orders are accepted, but not processed until POST /processing/resume")
        self._sharing.start()
        self._dispatcher.start()
        await self._periodic.start()
        if self._retention:
            self._retention.start()

    async def stop(self, timeout_s: float) -> int:
        """Stops claiming orders, and waits up to `timeout_s` seconds for running attempts.

        If attempts are still running after that, makes their orders Pending again. Requests that wait for an order get
        their responses at once. Returns the number of attempts that can still be running.
        """
        self._waiters.close()
        abandoned = await self._dispatcher.stop(timeout_s)
        self._sharing.stop()
        self._periodic.stop()
        return abandoned

    def abandon(self) -> None:
        """Stops the threads without waiting for them, so that the process can exit. Can be called at any time."""
        self._threads.abandon()
        if self._retention:
            self._retention.abandon()
        self._runner.close()

    def close_in_child(self) -> None:
        """Closes files that a forked child must not share with the server. Must be called in every forked child."""
        if self._retention:
            self._retention.close_in_child()

    async def close(self) -> None:
        """Finishes all accepted requests, then closes the queues, the threads and the store. Can be called twice."""
        if self._retention:
            await self._retention.close()
        await self._threads.writes.close()
        await self._periodic.close()
        await self._sharing.close()
        await self._threads.close()
        self._runner.close()

    # Orders

    def insert(self, order: NewOrder) -> asyncio.Future[Insertion]:
        """Stores the order. The future ends when the order is on disk, or with an error.

        Raises QueueFullError and QueueClosedError.
        """
        return self._intake.insert(order)

    def insert_for(self, order: NewOrder, waiter: Waiter[Insertion]) -> None:
        """Like `insert`, but the result goes to `waiter`. If this method raises, `waiter` is not called."""
        self._intake.insert_for(order, waiter)

    async def insert_many(self, orders: Sequence[NewOrder]) -> list[InsertResult]:
        """Stores the orders in one commit. See `Intake.insert_many`."""
        return await self._intake.insert_many(orders)

    def find(self, order_id: int) -> asyncio.Future[Order | None]:
        """The order with its current values; None if there is no such order."""
        return self._threads.finds.submit(order_id)

    def find_for(self, order_id: int, waiter: Waiter[Order | None]) -> None:
        """Like `find`, but the result goes to `waiter`. If this method raises, `waiter` is not called."""
        self._threads.finds.submit_for(order_id, waiter)

    async def find_when_ended(self, order_id: int, timeout_s: float) -> Order | None:
        """Waits until the order is Completed, Failed or Cancelled, at most `timeout_s` seconds.

        Then returns the order with its current values; None if there is no such order.
        """
        with self._waiters.waiting_for(order_id) as ended:
            order = await self._threads.finds.submit(order_id)
            if order is None or order.status in TERMINAL_STATUSES:
                return order
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), timeout_s)
        return await self._threads.finds.submit(order_id)

    async def wait_for_end(
        self, insertion: asyncio.Future[Insertion], order_id: int, timeout_s: float
    ) -> tuple[Insertion, Order | None]:
        """Waits until the order is stored, and then up to `timeout_s` seconds until it ends.

        `insertion` is the future that `insert` returned. Returns the result of `insertion`, and the order. If the order
        has not ended, returns None instead of the order.
        """
        inserted = await insertion
        # The order is on disk, so a read that fails must not become an error response.
        with contextlib.suppress(QueueFullError, QueueClosedError, StorageError, OrderArchivedError):
            found = await self.find_when_ended(order_id, timeout_s)
            if found and found.status in TERMINAL_STATUSES:
                return inserted, found
        return inserted, None

    @property
    def waiting(self) -> int:
        """How many requests wait for an order to end."""
        return len(self._waiters)

    def list_orders(self, listing: Listing) -> asyncio.Future[Page]:
        """A page of orders. Cancelling the future withdraws the listing if it has not begun."""
        return self._threads.listings.submit(listing)

    def history(self, order_id: int) -> asyncio.Future[list[AttemptRecord] | None]:
        """The attempts at the order, as `Store.history` documents; None if there is no such order."""
        return self._threads.histories.submit(order_id)

    def cancel(self, order_id: int) -> asyncio.Future[StatusChanged | None]:
        """Cancels a Pending order. The result is None if there is no such order.

        Raises WrongStatusError if the order is neither Pending nor Cancelled.
        """
        return self._threads.writes.submit(Cancel(order_id))

    def retry(self, order_id: int) -> asyncio.Future[StatusChanged | None]:
        """Makes a Failed order Pending. If the order waits for a retry, makes it ready now.

        Raises WrongStatusError for any other order. The result is None if there is no such order.
        """
        return self._threads.writes.submit(Retry(order_id))

    async def erase(self, order_id: int) -> Order | None:
        """Removes the personal data of an ended order from the database, and from its files.

        The result is None if there is no such order. Raises WrongStatusError if the order is Pending or Processing, and
        StorageBusyError if old copies of the data are left in a file, because a reader prevented that it was cleaned.
        """
        order = await self._threads.writes.submit(Erase(order_id))
        if order is not None:
            deadline_s = time.monotonic() + SCRUB_S
            while not await self._threads.scrubs.submit(None):
                if time.monotonic() > deadline_s:
                    raise StorageBusyError("erased values are left in the database's files, which are being read")
                await asyncio.sleep(SCRUB_INTERVAL_S)
        return order

    async def retry_selected(self, selection: RetrySelection) -> RetriedOrders:
        """Retries selected orders, oldest first. Examines at most `max_retried_at_once` orders.

        `rest` of the result selects the orders that were not examined.
        """
        # One request at a time, because many concurrent requests would otherwise share one very long transaction.
        async with self._retrying_selected:
            return await self._threads.writes.submit(RetryOrders(selection, self._limits.max_retried_at_once))

    async def set_paused(self, is_paused: bool) -> bool:
        """Pauses or resumes processing. A pause survives a restart. Returns whether this call changed anything.

        During a pause, orders are accepted but not processed. Running attempts end normally. Resuming also ends a pause
        of deliveries.
        """
        is_change = await self._threads.writes.submit(SetPaused(is_paused))
        if is_paused:
            return is_change
        return self._sharing.end_pause() or is_change

    @property
    def is_paused(self) -> bool:
        """Whether processing is paused."""
        return self._store.is_paused

    def totals(self) -> asyncio.Future[Totals]:
        """The totals as of the last commit."""
        return self._threads.totals.submit(None)

    def storage_status(self) -> asyncio.Future[StorageStatus]:
        """Whether reads and writes work, the number of errors, and the sizes of the files."""
        return self._threads.statuses.submit(None)

    async def check_storage(self) -> None:
        """If reads or writes have failed, tests them again. Raises a StorageError if this test fails.

        While one of them is tested, the other can fail, so both work when this method returns.
        """
        while failing := [work for work in Work if not self._store.is_up(work)]:
            for work in failing:
                await self._threads.probe(work)

    def finish_and_claim(self, write: FinishAndClaim) -> asyncio.Future[ClaimedOrders]:
        """Records outcomes and claims orders. Used by callers that process orders themselves, without `start`."""
        return self._intake.finish_and_claim(write)

    # Hooks of the WriteBatcher

    def before_batch(self) -> None:
        if not self._intake.is_under_high_load:
            self._dispatcher.claim_with_next_commit()
        self._dispatcher.batch_begins()

    def after_batch(self, items: Sequence[AnyWrite], results: Sequence[WriteResult | BaseException]) -> None:
        self._maintenance.note_write()
        if self._retention:
            self._retention.note_writes(items)
        # If a claim returned fewer orders than its limit, no order is ready after this batch, and the dispatcher sets a
        # timer for the next due retry by itself.
        if not any(
            isinstance(write, FinishAndClaim) and isinstance(result, ClaimedOrders) and len(result.orders) < write.limit
            for write, result in zip(items, results, strict=True)
        ):
            self._dispatcher.wake()
        reports_changes = self._observer.wants_changes and not self._sharing.reports_changes
        changes = changes_in(items, results) if self._waiters or reports_changes else None
        # Wakes requests before it calls the observer, so that an error of the observer delays no request that waits for
        # an order.
        if changes is not None:
            self._waiters.publish(changes)
        self._observer.batch_written(items, results)
        if changes is not None and reports_changes:
            self._observer.orders_changed(changes)
