"""The attempts that have begun but whose outcomes are not recorded yet.

Runs on the event loop; the processor runs on worker threads.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor

from models.order import Ending, Order, Status
from models.writes import FinishAndClaim, Outcome
from workers.failure_log import FailureLog
from workers.processors.processor import Processor
from workers.retries import RetryPolicy


class OpenAttempts:
    """Makes one attempt at each order on the threads of `pool`, and keeps the outcomes until they are recorded.

    Sets `changed` when there are new outcomes.
    """

    def __init__(
        self,
        *,
        pool: Executor,
        processor: Processor,
        retry_policy: RetryPolicy,
        failures: FailureLog,
        changed: asyncio.Event,
    ) -> None:
        self._pool = pool
        self._processor = processor
        self._retry_policy = retry_policy
        self._failures = failures
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._running: dict[tuple[int, int], Order] = {}
        self._outcomes: list[Outcome] = []
        self._attempted: list[Order] = []

    @property
    def running(self) -> int:
        """How many attempts have not ended."""
        return len(self._running)

    @property
    def ended(self) -> int:
        """How many attempts have ended but are not recorded yet."""
        return len(self._outcomes)

    def start(self, orders: Sequence[Order]) -> None:
        """Makes an attempt at each of these claimed orders.

        Raises RuntimeError if the pool can't start a thread. Orders that were not passed to a thread are put back.
        """
        size = self._processor.batch_size
        chunks = [orders[first : first + size] for first in range(0, len(orders), size)]
        self._running.update(((order.sequence, order.claims), order) for order in orders)
        while chunks:
            try:
                self._pool.submit(self._process, chunks[0])
            except RuntimeError:  # no thread can be started
                left = [order for chunk in chunks for order in chunk]
                for order in left:
                    del self._running[order.sequence, order.claims]
                self.put_back(left)
                raise
            chunks.pop(0)

    def put_back(self, orders: Sequence[Order], ending: Ending | None = None) -> None:
        """Makes the orders Pending again, with the next write. Their attempts do not count.

        `ending` is None if the attempts have not begun.
        """
        self._outcomes += [Outcome(order.sequence, order.claims, Status.PENDING, ending=ending) for order in orders]
        self._attempted += orders
        self._changed.set()

    def abandon(self) -> int:
        """Puts back the orders of all running attempts, whose results are then ignored. Returns their number."""
        abandoned = list(self._running.values())
        self._running.clear()
        self.put_back(abandoned, Ending.STOPPED)
        return len(abandoned)

    def as_write(self, limit: int) -> FinishAndClaim:
        """The write that records all outcomes so far and claims up to `limit` orders."""
        return FinishAndClaim(self._outcomes.copy(), limit, self._attempted.copy())

    def remove_recorded(self, write: FinishAndClaim) -> None:
        """Removes the outcomes of this write. Must be called once for each successful write, in order."""
        del self._outcomes[: len(write.outcomes)]
        del self._attempted[: len(write.outcomes)]

    def _process(self, claimed: Sequence[Order]) -> None:
        """Makes an attempt at each order. Runs on a worker thread."""
        # A chunk for which the pool could not start a thread can run later, when its orders have been put back.
        orders = [order for order in claimed if (order.sequence, order.claims) in self._running]
        if not orders:
            return
        try:
            self._processor(orders)
        except BaseException as error:  # noqa: BLE001 - outermost exception handler of the thread
            outcomes = [self._outcome_of(order, error) for order in orders]
            self._loop.call_soon_threadsafe(self._end, outcomes)
            for order, outcome in zip(orders, outcomes, strict=True):
                self._failures.note(order, outcome, error)
        else:
            outcomes = [Outcome(order.sequence, order.claims, Status.COMPLETED) for order in orders]
            self._loop.call_soon_threadsafe(self._end, outcomes)

    def _outcome_of(self, order: Order, error: BaseException) -> Outcome:
        try:
            return self._retry_policy.after(order.attempt, error)
        except BaseException:  # noqa: BLE001 - a user's exception can raise anything when it is read
            return self._retry_policy.after(order.attempt, RuntimeError(f"{type(error).__name__}, which can't be read"))

    def _end(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            # Ignores the outcome of an order that has been put back.
            if order := self._running.pop((outcome.sequence, outcome.claim), None):
                self._outcomes.append(outcome)
                self._attempted.append(order)
        self._changed.set()
