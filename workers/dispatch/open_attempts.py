"""The attempts that have begun, and whose outcomes are not in the store yet.

Runs on the event loop; results are reported on any thread.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain

from models.order import Ending, Order, Status
from models.writes.attempts import FinishAndClaim, Outcome
from models.writes.claimed_run import ClaimedRun
from workers.dispatch.failure_log import FailureLog
from workers.dispatch.retries import RetryPolicy
from workers.observer import ServiceObserver
from workers.processors.outcomes import NotSentError
from workers.processors.processor import AttemptRunner

# A constant, because reading `Status.COMPLETED` takes longer than all other work of the loops that use it.
_COMPLETED = Status.COMPLETED


class OpenAttempts:
    """Passes orders to the runner, which makes one attempt at each. Keeps the outcomes until they are recorded.

    Implements `workers.processors.processor.AttemptReports`. Sets `changed` when there are new outcomes.
    """

    def __init__(
        self,
        *,
        runner: AttemptRunner,
        retry_policy: RetryPolicy,
        failures: FailureLog,
        observer: ServiceObserver,
        changed: asyncio.Event,
    ) -> None:
        self._runner = runner
        self._retry_policy = retry_policy
        self._failures = failures
        self._observer = observer
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._running: dict[int, Order] = {}
        self._running_runs: list[ClaimedRun] = []
        self._reported: deque[tuple[Sequence[Order], Outcome | None, float | None]] = deque()
        self._is_woken = False
        self._is_deferred = False
        self._outcomes: list[Outcome] = []
        self._attempted: list[Order] = []
        self._completed: list[ClaimedRun] = []
        runner.open(self)

    @property
    def running(self) -> int:
        """How many attempts have neither ended nor been given up."""
        return len(self._running) + sum(map(len, self._running_runs))

    @property
    def ended(self) -> int:
        """How many attempts have ended, but have no outcome in the store yet."""
        return len(self._outcomes) + sum(map(len, self._completed))

    def start(self, orders: Sequence[Order]) -> None:
        """Makes an attempt at each of these claimed orders.

        Raises RuntimeError if no thread can be started. After this error, calls `put_back` for the orders whose
        attempts have not begun.
        """
        if isinstance(orders, ClaimedRun) and self._runner.takes_runs:
            self._running_runs.append(orders)
        else:
            orders = list(orders)
            self._running.update((order.sequence, order) for order in orders)
        try:
            self._runner.start(orders)
        except BaseException:
            self.withdraw()
            raise

    def withdraw(self) -> None:
        """Calls `put_back` for the orders whose attempts have not begun."""
        orders = self._runner.withdraw()
        for order in orders:
            self._running.pop(order.sequence, None)
        self.put_back(orders)

    def put_back(self, orders: Sequence[Order], ending: Ending | None = None) -> None:
        """The next write makes these orders Pending again. Their attempts do not count towards `--max-attempts`.

        `ending` is stored in the history of each order. If `ending` is None, the attempts did not begin, and the
        history does not contain them.
        """
        self._outcomes += [Outcome(order.sequence, order.claims, Status.PENDING, ending=ending) for order in orders]
        self._attempted += orders
        self._changed.set()

    def abandon(self) -> int:
        """The next write makes the orders of all running attempts Pending again. Ignores results from now on.

        Returns the number of attempts that can still be running, including attempts that have exceeded the time-out.
        """
        self.withdraw()
        abandoned = [*self._running.values(), *chain.from_iterable(self._running_runs)]
        self._running.clear()
        self._running_runs.clear()
        self.put_back(abandoned, Ending.STOPPED)
        return len(abandoned) + self._runner.overdue

    def as_write(self, limit: int, *, new_limit: int | None = None) -> FinishAndClaim:
        """The write that records all outcomes so far and claims orders up to these limits: see `FinishAndClaim`."""
        return FinishAndClaim(self._outcomes.copy(), limit, self._attempted.copy(), new_limit, self._completed.copy())

    def remove_recorded(self, write: FinishAndClaim) -> None:
        """Forgets the outcomes of a write that `as_write` returned.

        Must be called once for each successful write, in the order of the writes.
        """
        del self._outcomes[: len(write.outcomes)]
        del self._attempted[: len(write.outcomes)]
        del self._completed[: len(write.completed)]

    @contextlib.contextmanager
    def collected_at_end(self) -> Iterator[None]:
        """Results that are reported in the block do not wake the event loop. The end of the block collects them."""
        self._is_deferred = True
        try:
            yield
        finally:
            # Resets the flag first, so that a result that is reported from now on wakes the event loop.
            self._is_deferred = False
            if self._reported:
                self._collect()

    # Reports, on any thread

    def completed(self, orders: Sequence[Order], duration_s: float) -> None:
        self._report(orders, None, duration_s)

    def failed(self, order: Order, error: BaseException, duration_s: float) -> None:
        if not self._is_running(order):
            return
        outcome = self._outcome_of(order, error)
        self._report((order,), outcome, None if type(error) is NotSentError else duration_s)
        # A user's program can have set up a log that raises.
        with contextlib.suppress(Exception):
            self._failures.note(order, outcome, error)

    def _outcome_of(self, order: Order, error: BaseException) -> Outcome:
        try:
            return self._retry_policy.after(order, error)
        except BaseException:  # noqa: BLE001 - reading a user's exception can raise anything
            return self._retry_policy.after(order, RuntimeError(f"{type(error).__name__}, which can't be read"))

    def _report(self, orders: Sequence[Order], outcome: Outcome | None, duration_s: float | None) -> None:
        # Adds the result before it reads the flags. `_collect` resets the flags before it reads the results. So no
        # result is missed.
        self._reported.append((orders, outcome, duration_s))
        if not self._is_woken and not self._is_deferred:
            self._is_woken = True
            with contextlib.suppress(RuntimeError):  # the event loop is closed: the attempt has been abandoned
                self._loop.call_soon_threadsafe(self._collect)

    def _is_running(self, order: Order) -> bool:
        """Whether the attempt at this claimed order is running and its result is not known yet."""
        return self._running.get(order.sequence) is order

    def _collect(self) -> None:
        """Turns all reported results into outcomes."""
        self._is_woken = False
        # Reads only the results that have been reported by now. If threads report more all the time, the loop still
        # ends.
        for _ in range(len(self._reported)):
            orders, outcome, duration_s = self._reported.popleft()
            if isinstance(orders, ClaimedRun):
                self._collect_run(orders, duration_s)
                continue
            # Does not call `_is_running`: a call for each order would take long if there are thousands of orders.
            running = [order for order in orders if self._running.get(order.sequence) is order]
            for order in running:
                del self._running[order.sequence]
            self._outcomes += [outcome or Outcome(order.sequence, order.claims, _COMPLETED) for order in running]
            self._attempted += running
            if running and duration_s is not None:
                self._observer.attempts_ended(duration_s, len(running))
        self._changed.set()

    def _collect_run(self, run: ClaimedRun, duration_s: float | None) -> None:
        if run in self._running_runs:
            self._running_runs.remove(run)
            self._completed.append(run)
            if duration_s is not None:
                self._observer.attempts_ended(duration_s, len(run))
