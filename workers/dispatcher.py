"""Claim → process → finish, in batches.

Lives on the event loop; the store takes its turns on the writer's thread, processors run on the workers' threads.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from functools import partial

from models.errors import StorageBusyError, StorageUnavailableError
from models.order import Order, Status
from models.writes import Claimed, Outcome, Turn
from workers.backoff import Backoff
from workers.failure_log import FailureLog
from workers.processors.processor import Processor
from workers.retries import Retries

MAX_CLAIM = 1_000
LAST_CALL_S = 15.0
"""How long a stop waits for the last call of the store: longer than the store waits for a lock."""
LONGEST_NAP_S = 1.0
"""Due times are told by a clock that may be set, so that it is looked at this often."""

_MICROSECONDS = 1_000_000

_log = logging.getLogger(__name__)


class Dispatcher:
    """Keeps `workers` threads busy with Pending orders, oldest first, until `stop`.

    `take_turn` is the store's: one turn at a time records what has ended since the last one and claims what fits. A
    storage error loses nothing: the outcomes wait for the next turn, `backoff` says how long. `gap` returns when there
    is time for a turn. `clock` returns microseconds since 1970, UTC.

    `offer`, called when new orders are about to be stored, has them begun by the commit that takes them in.
    """

    def __init__(
        self,
        *,
        take_turn: Callable[[Turn], Awaitable[Claimed]],
        gap: Callable[[], Awaitable[object]],
        pool: Executor,
        processor: Processor,
        workers: int,
        retries: Retries,
        failures: FailureLog,
        backoff: Backoff,
        clock: Callable[[], int],
    ) -> None:
        self._take_turn = take_turn
        self._gap = gap
        self._pool = pool
        self._processor = processor
        self._capacity = workers * processor.batch_size
        self._retries = retries
        self._failures = failures
        self._backoff = backoff
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._running: dict[tuple[int, int], Order] = {}
        self._outcomes: list[Outcome] = []
        self._attempted: list[Order] = []
        self._is_waiting = False
        self._reserved = 0
        self._turn: asyncio.Future[Claimed] | None = None
        self._changed = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._stopping = False
        self._last_call = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to claim; to be called once, when the writer can reach the database."""
        self._task = self._loop.create_task(self._run())
        self.wake()

    def wake(self) -> None:
        """Says that there may be orders to claim. On the loop only, like everything public here."""
        self._changed.set()

    def offer(self) -> None:
        """Takes a turn with the batch that is about to leave, if there is room for orders and none is taken yet."""
        limit = self._room()
        if limit and self._task and not self._is_waiting and (self._turn is None or self._turn.done()):
            self._begin_turn(Turn([], limit)).add_done_callback(partial(self._end_offer, limit))

    async def stop(self, timeout_s: float) -> int:
        """Claims nothing more, gives running attempts `timeout_s` seconds, then gives the rest back as Pending.

        What the store can't record then stays in Processing, to be recovered at the next start.
        Returns how many attempts were given up: their threads may still be busy with them. May be called twice.
        """
        self._stopping = True
        self.wake()
        if self._task is None:
            return 0
        await asyncio.wait([self._task], timeout=timeout_s)
        given_up = list(self._running.values())
        self._running.clear()
        self._release(given_up)
        self._last_call.set()
        await asyncio.wait([self._task], timeout=LAST_CALL_S)
        self._task.cancel()
        if self._outcomes:
            _log.warning("the ends of %d attempts could not be stored: they will be made again", len(self._outcomes))
        self._set_alarm(None)
        return len(given_up)

    async def _run(self) -> None:
        failures = 0
        while not (self._stopping and not self._running and not self._outcomes and not self._reserved):
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._advance()
            except Exception as error:  # noqa: BLE001 - the task's top: processing must go on, whatever it was
                failures += 1
                expected = isinstance(error, StorageBusyError | StorageUnavailableError)
                _log.warning("processing waits: %s", error, exc_info=None if expected else error)
                if self._last_call.is_set():
                    return
                self._is_waiting = True
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._last_call.wait(), self._backoff.delay_s(failures))
                self._is_waiting = False
                self.wake()
            else:
                failures = 0

    async def _advance(self) -> None:
        await self._gap()
        limit = self._room()
        outcomes = self._outcomes.copy()
        if not outcomes and not limit:
            return
        try:
            claimed = await self._begin_turn(Turn(outcomes, limit, self._attempted.copy()))
        finally:
            self._reserved -= limit
        # Only now: had the turn failed, they would go with the next one.
        del self._outcomes[: len(outcomes)]
        del self._attempted[: len(outcomes)]
        self._begin(claimed, limit)

    def _room(self) -> int:
        """How many orders may be claimed."""
        return 0 if self._stopping else min(MAX_CLAIM, self._capacity - len(self._running) - self._reserved)

    def _begin_turn(self, turn: Turn) -> asyncio.Future[Claimed]:
        # One turn may be over, and its orders not running yet, when the next one begins.
        self._reserved += turn.limit
        self._turn = asyncio.ensure_future(self._take_turn(turn))
        return self._turn

    def _end_offer(self, limit: int, turn: "asyncio.Future[Claimed]") -> None:
        self._reserved -= limit
        if self._stopping:
            self.wake()
        # If the batch failed, those whose orders were in it are told.
        if not turn.cancelled() and not turn.exception():
            try:
                self._begin(turn.result(), limit)
            except RuntimeError as error:
                _log.warning("processing waits: %s", error)

    def _begin(self, claimed: Claimed, limit: int) -> None:
        if self._stopping:
            self._release(claimed.orders)
            return
        self._start(claimed.orders)
        if not limit:  # then there is no news of what is due
            return
        self._set_alarm(claimed.next_due_us)
        if len(claimed.orders) == limit:
            self.wake()

    def _set_alarm(self, due_us: int | None) -> None:
        """Wakes at `due_us`, or when told anew."""
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None
        if due_us is None:
            return
        left_s = (due_us - self._clock()) / _MICROSECONDS
        if left_s <= 0:
            self.wake()
        else:
            self._alarm = self._loop.call_later(min(left_s, LONGEST_NAP_S), self._set_alarm, due_us)

    def _start(self, orders: list[Order]) -> None:
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
                self._release(left)
                raise
            chunks.pop(0)

    def _process(self, claimed: list[Order]) -> None:
        # The pool may keep, and begin later, what it could not start a thread for and what has been given back since.
        orders = [order for order in claimed if (order.sequence, order.claims) in self._running]
        if not orders:
            return
        try:
            self._processor(orders)
        except BaseException as error:  # noqa: BLE001 - the thread's top: an attempt that raises must end, too
            outcomes = [self._judge(order, error) for order in orders]
            self._loop.call_soon_threadsafe(self._end, outcomes)
            for order, outcome in zip(orders, outcomes, strict=True):
                self._failures.note(order, outcome, error)
        else:
            outcomes = [Outcome(order.sequence, order.claims, Status.COMPLETED) for order in orders]
            self._loop.call_soon_threadsafe(self._end, outcomes)

    def _judge(self, order: Order, error: BaseException) -> Outcome:
        try:
            return self._retries.after(order.attempt, error)
        except BaseException:  # noqa: BLE001 - at the thread's top still: a user's error may raise when it is looked at
            return self._retries.after(order.attempt, RuntimeError(f"{type(error).__name__}, which can't be read"))

    def _end(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            # What has been given back is not running any more: its outcome comes too late.
            if order := self._running.pop((outcome.sequence, outcome.claim), None):
                self._outcomes.append(outcome)
                self._attempted.append(order)
        self.wake()

    def _release(self, orders: list[Order]) -> None:
        self._outcomes += [Outcome(order.sequence, order.claims, Status.PENDING) for order in orders]
        self._attempted += orders
        self.wake()
