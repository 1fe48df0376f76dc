"""Claim → process → finish, in batches.

Lives on the event loop; the store takes its turns on the writer's thread, processors run on the workers' threads.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor

from models.errors import StorageBusyError, StorageUnavailableError
from models.order import Order, Outcome, Status, Turn
from workers.backoff import Backoff
from workers.processors import Processor

MAX_CLAIM = 1_000
MAX_ERROR_CHARACTERS = 1_000
LAST_CALL_S = 15.0
"""How long a stop waits for the last call of the store: longer than the store waits for a lock."""

_log = logging.getLogger(__name__)


class Dispatcher:
    """Keeps `workers` threads busy with Pending orders, oldest first, until `stop`.

    `take_turn` is the store's: one turn at a time records what has ended since the last one and claims what fits. A
    storage error loses nothing: the outcomes wait for the next turn.
    """

    def __init__(
        self,
        *,
        take_turn: Callable[[Turn], Awaitable[list[Order]]],
        pool: Executor,
        processor: Processor,
        workers: int,
        backoff: Backoff,
    ) -> None:
        self._take_turn = take_turn
        self._pool = pool
        self._processor = processor
        self._capacity = workers * processor.batch_size
        self._backoff = backoff
        self._loop = asyncio.get_running_loop()
        self._running: dict[tuple[int, int], Order] = {}
        self._outcomes: list[Outcome] = []
        self._changed = asyncio.Event()
        self._stopping = False
        self._last_call = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to claim; to be called once, when the writer can reach the database."""
        self._task = self._loop.create_task(self._run())
        self.wake()

    def wake(self) -> None:
        """Says that there may be Pending orders. On the loop only, like everything public here."""
        self._changed.set()

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
        self._give_back(given_up)
        self._last_call.set()
        await asyncio.wait([self._task], timeout=LAST_CALL_S)
        self._task.cancel()
        return len(given_up)

    async def _run(self) -> None:
        while not (self._stopping and not self._running and not self._outcomes):
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._advance()
            except Exception as error:  # noqa: BLE001 - the task's top: processing must go on, whatever it was
                delay_s = self._backoff.next_s()
                expected = isinstance(error, StorageBusyError | StorageUnavailableError)
                _log.warning("processing waits: %s", error, exc_info=None if expected else error)
                if self._last_call.is_set():
                    return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._last_call.wait(), delay_s)
                self.wake()
            else:
                self._backoff.reset()

    async def _advance(self) -> None:
        limit = 0 if self._stopping else min(MAX_CLAIM, self._capacity - len(self._running))
        outcomes = self._outcomes.copy()
        if not outcomes and not limit:
            return
        claimed = await self._take_turn(Turn(outcomes, limit))
        # Only now: had the turn failed, they would go with the next one.
        del self._outcomes[: len(outcomes)]
        if self._stopping:
            self._give_back(claimed)
        else:
            self._start(claimed)
        if len(claimed) == limit:
            self.wake()

    def _start(self, orders: list[Order]) -> None:
        size = self._processor.batch_size
        chunks = [orders[first : first + size] for first in range(0, len(orders), size)]
        while chunks:
            try:
                self._pool.submit(self._process, chunks[0])
            except RuntimeError:  # no thread can be started
                self._give_back([order for chunk in chunks for order in chunk])
                raise
            self._running.update(((order.sequence, order.claims), order) for order in chunks.pop(0))

    def _process(self, orders: list[Order]) -> None:
        ended: dict[tuple[int, int], Outcome] = {}
        reason = "the processor gave no outcome"
        try:
            ended = {(outcome.sequence, outcome.claim): outcome for outcome in self._processor(orders)}
        except BaseException as error:  # noqa: BLE001 - the thread's top: an attempt that raises must end, too
            _log.exception("an attempt failed")
            reason = f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARACTERS]
        outcomes = [
            ended.get((order.sequence, order.claims)) or Outcome(order.sequence, order.claims, Status.FAILED, reason)
            for order in orders
        ]
        self._loop.call_soon_threadsafe(self._end, outcomes)

    def _end(self, outcomes: list[Outcome]) -> None:
        # What has been given back is not running any more: its outcome comes too late.
        self._collect([outcome for outcome in outcomes if self._running.pop((outcome.sequence, outcome.claim), None)])

    def _give_back(self, orders: list[Order]) -> None:
        self._collect([Outcome(order.sequence, order.claims, Status.PENDING) for order in orders])

    def _collect(self, outcomes: list[Outcome]) -> None:
        self._outcomes += outcomes
        self.wake()
