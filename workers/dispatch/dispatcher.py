"""Decides when to claim orders and when to record the outcomes of attempts. Runs on the event loop.

To claim an order is to change its status from Pending to Processing in the store. An attempt is one try to process
a claimed order.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from models.errors import StorageError
from models.writes.attempts import ClaimedOrders, FinishAndClaim
from workers.backoff import Backoff
from workers.dispatch.failure_log import FailureLog
from workers.dispatch.open_attempts import OpenAttempts
from workers.dispatch.retries import RetryPolicy
from workers.observer import ServiceObserver
from workers.processors.claim_gate import ClaimGate
from workers.processors.processor import AttemptRunner
from workers.safe_log import log_safely

MAX_CLAIM = 1_000
"""The maximum number of stored orders that one write claims."""
MAX_NEW_CLAIM = 4_000
"""When a write stores new orders, it claims at most this number of them. A group of orders of a stream is smaller."""
COLLECT_S = 0.01
"""How many seconds outcomes wait for further outcomes while the runner has enough orders for a longer time."""
LAST_WRITE_S = 15.0
"""How many seconds `stop` waits for the write of the last outcomes. The store waits 10 seconds for a locked database,
so this must be longer."""
MAX_SLEEP_S = 1.0
"""The maximum length, in seconds, of a timer for the next due retry. A longer timer could fire too late, because the
timers of the event loop stop while the system is suspended."""

_MICROSECONDS = 1_000_000

_log = logging.getLogger("orders.processing")


class ClaimQueue(Protocol):
    """Passes the writes of the dispatcher to the store. Implemented by `workers.intake.Intake`."""

    def finish_and_claim(self, write: FinishAndClaim) -> Awaitable[ClaimedOrders]:
        """Records the outcomes in `write` and claims up to `write.most` orders. The result is the claimed orders.

        If awaiting the result raises a StorageError, no order was claimed, and the caller must pass the same outcomes
        again. An outcome that is already recorded changes nothing.
        """

    async def wait_for_low_load(self) -> None:
        """Delays the next write while new orders arrive faster than they are stored, but only for a limited time."""


class Dispatcher:
    """Passes Pending orders to `runner`, oldest first, from `start` until `stop`.

    `gate` limits how many attempts can run at a time. Each write to the store records the outcomes that have arrived
    since the previous write, and claims as many orders as the runner can take. While the runner has enough orders, a
    write waits `collect_s` seconds, because fewer and larger commits take less CPU time.

    If a write fails with a storage error, the dispatcher writes the same outcomes again after a delay, which
    `storage_backoff` sets. `clock` returns the current time in microseconds, on the same time scale as the due times of
    retries (see `models.clock.Clock`).
    """

    def __init__(
        self,
        *,
        queue: ClaimQueue,
        runner: AttemptRunner,
        retry_policy: RetryPolicy,
        failures: FailureLog,
        storage_backoff: Backoff,
        clock: Callable[[], int],
        gate: ClaimGate,
        observer: ServiceObserver,
        collect_s: float = COLLECT_S,
        max_sleep_s: float = MAX_SLEEP_S,
        last_write_s: float = LAST_WRITE_S,
    ) -> None:
        self._queue = queue
        self._runner = runner
        self._storage_backoff = storage_backoff
        self._clock = clock
        self._gate = gate
        self._collect_s = collect_s
        self._max_sleep_s = max_sleep_s
        self._last_write_s = last_write_s
        self._loop = asyncio.get_running_loop()
        self._is_waiting = False
        self._reserved = 0
        self._queued_write: asyncio.Future[ClaimedOrders] | None = None
        """The latest write, while it waits in the queue; None as soon as its batch is sent to the store."""
        self._changed = asyncio.Event()
        self._attempts = OpenAttempts(
            runner=runner,
            retry_policy=retry_policy,
            failures=failures,
            observer=observer,
            changed=self._changed,
        )
        self._alarm: asyncio.TimerHandle | None = None
        self._gate_alarm: asyncio.TimerHandle | None = None
        self._stopping = False
        self._last_write = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts to claim orders. Must be called once, after the writer thread has connected to the store."""
        self._task = self._loop.create_task(self._run())
        self.wake()

    def wake(self) -> None:
        """Makes the dispatcher try to claim orders soon. Must be called when an order is possibly ready."""
        self._changed.set()

    def claim_with_next_commit(self) -> None:
        """Adds a claim to the batch of writes that is about to be sent to the store.

        So new orders can be claimed in the commit that stores them. Does nothing if the runner can't take an order now,
        if the batch already has a write of the dispatcher, or during the delay after a storage error.
        """
        free = self._free_slots()
        is_queued = self._queued_write is not None and not self._queued_write.done()
        if free and self._task and not self._is_waiting and not is_queued:
            write = FinishAndClaim([], min(MAX_CLAIM, free), new_limit=_new_limit(free))
            self._submit(write).add_done_callback(partial(self._end_claim, write))

    def batch_begins(self) -> None:
        """Must be called when the waiting writes are sent to the store as a batch."""
        self._queued_write = None

    async def stop(self, timeout_s: float) -> int:
        """Stops claiming orders, and waits up to `timeout_s` seconds for running attempts.

        If attempts are still running after that, makes their orders Pending again. If the store can't record an
        outcome, the order stays Processing until the server is started again. Returns the number of attempts that can
        still be running, including attempts that have exceeded the time-out. Can be called twice.
        """
        self._stopping = True
        self._attempts.withdraw()
        if self._task is None:
            return 0
        await asyncio.wait([self._task], timeout=timeout_s)
        abandoned = self._attempts.abandon()
        self._last_write.set()
        await asyncio.wait([self._task], timeout=self._last_write_s)
        self._task.cancel()
        if unrecorded := self._attempts.ended:
            _log.warning(
                "%d outcomes could not be stored: at the next start, these attempts count as interrupted, and each "
                "order is retried, or becomes Failed if this was its last attempt",
                unrecorded,
            )
        self._set_alarm(None)
        if self._gate_alarm:
            self._gate_alarm.cancel()
        return abandoned

    async def _run(self) -> None:
        failures = 0
        while not (self._stopping and not self._attempts.running and not self._attempts.ended and not self._reserved):
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._finish_and_claim()
            except Exception as error:  # noqa: BLE001 - outermost exception handler of the task
                failures += 1
                if not isinstance(error, StorageError):
                    log_safely(_log, logging.WARNING, "processing stopped: %s", error, error=error)
                elif failures == 1:  # the store logs the details
                    text = "processing stopped until writes of the database work again (%s)"
                    log_safely(_log, logging.WARNING, text, error.code)
                if self._last_write.is_set():
                    return
                self._is_waiting = True
                await self._sleep(self._storage_backoff.delay_s(failures))
                self._is_waiting = False
                self.wake()
            else:
                if failures:
                    log_safely(_log, logging.INFO, "processing continues")
                failures = 0

    async def _finish_and_claim(self) -> None:
        await self._queue.wait_for_low_load()
        if self._runner_has_enough:
            with self._attempts.collected_at_end():
                await self._sleep(self._collect_s)
            self._changed.clear()  # the write below uses all changes so far
        self._set_gate_alarm()
        free = self._free_slots()
        write = self._attempts.as_write(min(MAX_CLAIM, free), new_limit=_new_limit(free))
        if not write.has_outcomes and not free:
            return
        try:
            claimed = await self._submit(write)
        finally:
            self._reserved -= write.most
        # Removed only after the write, because the next write must record the same outcomes if this one fails.
        self._attempts.remove_recorded(write)
        self._begin(claimed, write.limit)

    @property
    def _runner_has_enough(self) -> bool:
        """Whether the runner has more than half of the orders that can wait for their attempts."""
        begun = self._runner.in_time
        return not self._stopping and 2 * (self._attempts.running - begun) > self._runner.capacity - begun

    async def _sleep(self, seconds: float) -> None:
        """Returns after `seconds`, or as soon as `stop` needs the last write."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._last_write.wait(), seconds)

    def _free_slots(self) -> int:
        """How many further orders the runner can take now."""
        if self._stopping:
            return 0
        max_open = self._gate.max_open()
        capacity = self._runner.capacity
        if max_open is not None:
            # An attempt that has exceeded its time-out still runs, so it counts towards the limit of the gate.
            capacity = min(capacity, max_open - self._runner.overdue)
        return max(0, capacity - self._attempts.running - self._reserved)

    def _submit(self, write: FinishAndClaim) -> asyncio.Future[ClaimedOrders]:
        # Reserved until the claimed orders are started: a write that is submitted before that must not claim orders for
        # the same threads.
        self._reserved += write.most
        self._queued_write = asyncio.ensure_future(self._queue.finish_and_claim(write))
        return self._queued_write

    def _end_claim(self, write: FinishAndClaim, result: "asyncio.Future[ClaimedOrders]") -> None:
        self._reserved -= write.most
        if self._stopping:
            self.wake()
        # An error of the batch is not logged here: the callers whose new orders were in the batch get the same error.
        if not result.cancelled() and not result.exception():
            try:
                self._begin(result.result(), write.limit)
            except RuntimeError as error:
                log_safely(_log, logging.WARNING, "processing stopped: %s", error)

    def _begin(self, claimed: ClaimedOrders, limit: int) -> None:
        if self._stopping:
            self._attempts.put_back(claimed.orders)
            return
        if claimed.orders:
            self._attempts.start(claimed.orders)
        if not limit:  # the store did not look for the next due retry, so `next_due_us` is not known
            return
        self._set_alarm(claimed.next_due_us)
        if len(claimed.orders) >= limit:
            self.wake()

    def _set_gate_alarm(self) -> None:
        """Sets a timer that wakes the dispatcher when the pause of the gate ends."""
        if self._gate_alarm:
            self._gate_alarm.cancel()
            self._gate_alarm = None
        if left_s := self._gate.opens_in_s():
            self._gate_alarm = self._loop.call_later(left_s, self.wake)

    def _set_alarm(self, due_us: int | None) -> None:
        """Cancels the timer. If `due_us` is not None, sets a new timer that wakes the dispatcher at this time."""
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None
        if due_us is None:
            return
        left_s = (due_us - self._clock()) / _MICROSECONDS
        if left_s <= 0:
            self.wake()
        else:
            self._alarm = self._loop.call_later(min(left_s, self._max_sleep_s), self._set_alarm, due_us)


def _new_limit(free: int) -> int | None:
    """The limit for new orders, if it differs from the limit for stored orders."""
    return min(MAX_NEW_CLAIM, free) if free > MAX_CLAIM else None
