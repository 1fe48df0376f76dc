"""Finds out that other servers have ended orders for which requests wait. Runs on the event loop."""

import asyncio
import contextlib
from collections.abc import Sequence

from tornado.ioloop import PeriodicCallback

from models.errors import QueueClosedError, QueueFullError
from workers.batcher import Batcher
from workers.waiters import CompletionWaiters

INTERVAL_MS = 100
MAX_SHARE = 0.2
"""The largest share of the time for which the queue is occupied, because other reads wait in the meantime. If very many
requests wait, they are checked less often."""


class EndPolling:
    """Each tenth of a second, looks up all orders for which requests wait, if there are any.

    `queue` must pass its items to a thread that calls `Feed.ended`.
    """

    def __init__(self, queue: Batcher[Sequence[int], Sequence[int]], *, waiters: CompletionWaiters) -> None:
        self._queue = queue
        self._waiters = waiters
        self._loop = asyncio.get_running_loop()
        self._is_asking = False
        self._began_s = 0.0
        self._not_before_s = 0.0
        self._timer = PeriodicCallback(self._ask, INTERVAL_MS)

    def start(self) -> None:
        """Begins to look up orders."""
        self._timer.start()

    def stop(self) -> None:
        """Ends the lookups. Can be called twice, and before `start`."""
        self._timer.stop()

    def _ask(self) -> None:
        if self._is_asking or not len(self._waiters) or self._loop.time() < self._not_before_s:
            return
        with contextlib.suppress(QueueFullError, QueueClosedError):
            self._began_s = self._loop.time()
            asking = self._queue.submit(self._waiters.order_ids())
            self._is_asking = True
            asking.add_done_callback(self._end)

    def _end(self, asking: "asyncio.Future[Sequence[int]]") -> None:
        self._is_asking = False
        ended_s = self._loop.time()
        self._not_before_s = ended_s + (ended_s - self._began_s) * (1 / MAX_SHARE - 1)
        # An error is not logged here: the storage is checked each second, and the store logs an error of this check.
        if not asking.cancelled() and not asking.exception():
            self._waiters.wake(asking.result())
