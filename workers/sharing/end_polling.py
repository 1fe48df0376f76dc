"""Finds out that other servers have ended orders for which requests wait. Runs on the event loop."""

import asyncio
import contextlib
from collections.abc import Sequence

from tornado.ioloop import PeriodicCallback

from models.errors import QueueClosedError, QueueFullError
from workers.batcher import Batcher
from workers.sharing.error_log import ErrorLog
from workers.waiters import CompletionWaiters

INTERVAL_MS = 100
MAX_SHARE = 0.2
"""Lookups use at most this share of the time of the reading thread, because other reads wait in the meantime. If very
many requests wait, their orders are looked up less often."""


class EndPolling:
    """Each tenth of a second, looks up all orders for which requests wait, if there are any.

    `queue` must pass its items to a thread that calls `Feed.ended`.
    """

    def __init__(self, queue: Batcher[Sequence[int], Sequence[int]], *, waiters: CompletionWaiters) -> None:
        self._queue = queue
        self._waiters = waiters
        self._loop = asyncio.get_running_loop()
        self._is_looking_up = False
        self._errors = ErrorLog("the orders for which requests wait can't be looked up")
        self._began_s = 0.0
        self._not_before_s = 0.0
        self._timer = PeriodicCallback(self._look_up, INTERVAL_MS)

    def start(self) -> None:
        """Begins to look up orders."""
        self._timer.start()

    def stop(self) -> None:
        """Ends the lookups. Can be called twice, and before `start`."""
        self._timer.stop()

    def _look_up(self) -> None:
        if self._is_looking_up or not len(self._waiters) or self._loop.time() < self._not_before_s:
            return
        with contextlib.suppress(QueueFullError, QueueClosedError):
            self._began_s = self._loop.time()
            lookup = self._queue.submit(self._waiters.order_ids())
            self._is_looking_up = True
            lookup.add_done_callback(self._end)

    def _end(self, lookup: "asyncio.Future[Sequence[int]]") -> None:
        self._is_looking_up = False
        ended_s = self._loop.time()
        self._not_before_s = ended_s + (ended_s - self._began_s) * (1 / MAX_SHARE - 1)
        if lookup.cancelled():
            return
        if error := lookup.exception():
            self._errors.note_error(error)
            return
        self._errors.note_success()
        self._waiters.wake(lookup.result())
