"""Reads the changes of all servers that use the same database. Runs on the event loop."""

import asyncio
import contextlib

from tornado.ioloop import PeriodicCallback

from models.changes.feed import FeedRead
from models.errors import QueueClosedError, QueueFullError
from workers.batcher import Batcher
from workers.observer import ServiceObserver
from workers.sharing.error_log import ErrorLog

INTERVAL_MS = 100


class FeedPolling:
    """Each tenth of a second, reads the next part of the feed for the observer, if the observer wants changes.

    `queue` must pass its items to a thread that calls `Feed.read`.
    """

    def __init__(self, queue: Batcher[None, FeedRead | None], *, observer: ServiceObserver) -> None:
        self._queue = queue
        self._observer = observer
        self._reading: asyncio.Future[FeedRead | None] | None = None
        self._errors = ErrorLog("the changes for event streams can't be read")
        self._timer = PeriodicCallback(self._read, INTERVAL_MS)

    def start(self) -> None:
        """Begins to read."""
        self._timer.start()

    async def stop(self) -> None:
        """Ends the reading, after one more read. Can be called before `start`."""
        if not self._timer.is_running():
            return
        self._timer.stop()
        while self._reading:
            await asyncio.wait([self._reading])
        self._read()
        while self._reading:
            await asyncio.wait([self._reading])

    def _read(self) -> None:
        if self._reading or not self._observer.wants_changes:
            return
        with contextlib.suppress(QueueFullError, QueueClosedError):
            self._reading = self._queue.submit(None)
            self._reading.add_done_callback(self._end)

    def _end(self, reading: asyncio.Future[FeedRead | None]) -> None:
        self._reading = None
        if reading.cancelled():
            return
        if error := reading.exception():
            self._errors.note_error(error)
            return
        self._errors.note_success()
        if part := reading.result():
            self._observer.feed_read(part)
            if part.has_more:
                self._read()
