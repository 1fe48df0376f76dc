"""The attempts that have begun, and whose outcomes are not in the store yet.

Runs on the event loop; the processor runs on worker threads.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from concurrent.futures import Executor

from models.order import Ending, Order, Status
from models.writes import FinishAndClaim, Outcome
from workers.dispatch.failure_log import FailureLog
from workers.dispatch.retries import RetryPolicy
from workers.dispatch.running_calls import RunningCalls
from workers.processors.outcomes import NoResultError
from workers.processors.processor import Processor

_log = logging.getLogger(__name__)


class OpenAttempts:
    """Makes one attempt at each order on the threads of `pool`, and keeps the outcomes until they are recorded.

    Sets `changed` when there are new outcomes. An attempt that has not ended after `timeout_s` seconds is given up: it
    counts as failed, and its later result is ignored. But its call of the processor is still running on a thread. Up to
    `spare_threads` such calls take no thread away from other orders, because `pool` has this many additional threads.
    If `timeout_s` is None, there is no time-out.
    """

    def __init__(
        self,
        *,
        pool: Executor,
        processor: Processor,
        retry_policy: RetryPolicy,
        failures: FailureLog,
        changed: asyncio.Event,
        timeout_s: float | None,
        spare_threads: int,
    ) -> None:
        self._pool = pool
        self._processor = processor
        self._retry_policy = retry_policy
        self._failures = failures
        self._changed = changed
        self._timeout_s = timeout_s
        self._spare_threads = spare_threads
        self._calls = RunningCalls(timeout_s=timeout_s, give_up=self._give_up)
        self._loop = asyncio.get_running_loop()
        self._warnings: set[str] = set()
        self._running: dict[tuple[int, int], Order] = {}
        self._outcomes: list[Outcome] = []
        self._attempted: list[Order] = []

    @property
    def running(self) -> int:
        """How many attempts have neither ended nor been given up."""
        return len(self._running)

    @property
    def lost_slots(self) -> int:
        """How many fewer orders can be processed at a time, because more than `spare_threads` calls are overdue."""
        return max(0, self._calls.overdue - self._spare_threads) * self._processor.batch_size

    @property
    def calls(self) -> RunningCalls:
        """The calls of the processor that have not ended."""
        return self._calls

    @property
    def ended(self) -> int:
        """How many attempts have ended, but have no outcome in the store yet."""
        return len(self._outcomes)

    def start(self, orders: Sequence[Order]) -> None:
        """Makes an attempt at each of these claimed orders.

        Raises RuntimeError if the pool can't start a thread. The orders that were not passed to a thread are then
        passed to `put_back`.
        """
        size = self._processor.batch_size
        chunks = [orders[first : first + size] for first in range(0, len(orders), size)]
        self._running.update(((order.sequence, order.claims), order) for order in orders)
        while chunks:
            number = self._calls.begin(chunks[0])
            try:
                self._pool.submit(self._process, number, chunks[0])
            except RuntimeError:  # no thread can be started
                self._calls.end(number)
                left = [order for chunk in chunks for order in chunk]
                for order in left:
                    del self._running[order.sequence, order.claims]
                self.put_back(left)
                raise
            chunks.pop(0)

    def put_back(self, orders: Sequence[Order], ending: Ending | None = None) -> None:
        """The next write makes these orders Pending again. Their attempts do not count towards `--max-attempts`.

        `ending` is stored in the history of each order. If `ending` is None, the attempts did not begin, and the
        history does not contain them.
        """
        self._outcomes += [Outcome(order.sequence, order.claims, Status.PENDING, ending=ending) for order in orders]
        self._attempted += orders
        self._changed.set()

    def abandon(self) -> int:
        """The next write makes the orders of all running attempts Pending again. Later results are ignored.

        Returns the number of attempts that can still be running, including those that were given up before.
        """
        self._calls.close()
        abandoned = list(self._running.values())
        self._running.clear()
        self.put_back(abandoned, Ending.STOPPED)
        return len(abandoned) + self._calls.overdue

    def as_write(self, limit: int) -> FinishAndClaim:
        """The write that records all outcomes so far and claims up to `limit` orders."""
        return FinishAndClaim(self._outcomes.copy(), limit, self._attempted.copy())

    def remove_recorded(self, write: FinishAndClaim) -> None:
        """Forgets the outcomes of a write that `as_write` returned.

        Must be called once for each successful write, in the order of the writes.
        """
        del self._outcomes[: len(write.outcomes)]
        del self._attempted[: len(write.outcomes)]

    def _process(self, number: int, claimed: Sequence[Order]) -> None:
        """Makes an attempt at each order. Runs on a worker thread."""
        # While the call waited for a thread, the attempts can have been put back or given up.
        orders = self._still_running(claimed)
        if not orders:
            self._end_soon(number, [])
            return
        try:
            pending = self._processor(orders)
        except BaseException as error:  # noqa: BLE001 - outermost exception handler of the thread
            self._finish(number, orders, error)
            return
        if pending is None:
            self._finish(number, orders, None)
        else:
            pending.add_done_callback(lambda done: self._finish(number, orders, done.exception()))

    def _finish(self, number: int, orders: Sequence[Order], error: BaseException | None) -> None:
        """Passes the outcomes to the event loop. Runs on any thread."""
        if error is None:
            outcomes = [Outcome(order.sequence, order.claims, Status.COMPLETED) for order in orders]
        else:
            orders = self._still_running(orders)
            outcomes = [self._outcome_of(order, error) for order in orders]
        self._end_soon(number, outcomes)
        if error is not None:
            for order, outcome in zip(orders, outcomes, strict=True):
                self._failures.note(order, outcome, error)

    def _end_soon(self, number: int, outcomes: Sequence[Outcome]) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop is closed: the attempt has been abandoned
            self._loop.call_soon_threadsafe(self._end, number, outcomes)

    def _still_running(self, orders: Sequence[Order]) -> list[Order]:
        """The orders whose attempts have neither been given up nor passed to `put_back`."""
        return [order for order in orders if (order.sequence, order.claims) in self._running]

    def _outcome_of(self, order: Order, error: BaseException) -> Outcome:
        try:
            return self._retry_policy.after(order, error)
        except BaseException:  # noqa: BLE001 - reading a user's exception can raise anything
            return self._retry_policy.after(order, RuntimeError(f"{type(error).__name__}, which can't be read"))

    def _end(self, number: int, outcomes: Sequence[Outcome]) -> None:
        self._calls.end(number)
        if not self._calls.overdue:
            self._warnings.clear()
        self._record(outcomes)

    def _record(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            # Ignores the outcome of an attempt that has been put back or given up.
            if order := self._running.pop((outcome.sequence, outcome.claim), None):
                self._outcomes.append(outcome)
                self._attempted.append(order)
        self._changed.set()

    def _give_up(self, orders: Sequence[Order]) -> None:
        """Records that the attempts at these orders failed, because their call of the processor is overdue."""
        error = NoResultError(self._timeout_s or 0.0)
        orders = self._still_running(orders)
        outcomes = [self._retry_policy.after(order, error) for order in orders]
        self._record(outcomes)
        for order, outcome in zip(orders, outcomes, strict=True):
            self._failures.note(order, outcome, error)
        self._warn_about_lost_threads()

    def _warn_about_lost_threads(self) -> None:
        """Warns that fewer orders, or none, are processed. Repeats a warning only after no call was overdue."""
        lost = self._calls.overdue - self._spare_threads
        effect = "fewer orders are" if lost < self._spare_threads else "no order is"
        if lost > 0 and effect not in self._warnings:
            self._warnings.add(effect)
            _log.warning(
                "%d attempts exceeded the time-out and still run: until some of them end, %s processed",
                self._calls.overdue,
                effect,
            )
