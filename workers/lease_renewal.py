"""Renews the server's lease of a database that several servers share. Runs on the event loop."""

import asyncio
import contextlib

from tornado.ioloop import PeriodicCallback

from models.errors import QueueClosedError, QueueFullError
from workers.batcher import Batcher
from workers.dispatch.dispatcher import Dispatcher

SECOND_MS = 1_000


class LeaseRenewal:
    """Runs `Store.tend` each second, until `stop`. Has its own timer, so that a slow read does not delay it.

    `queue` must pass its items to the thread that writes, which calls `Store.tend`.
    """

    def __init__(self, queue: Batcher[None, bool], *, dispatcher: Dispatcher) -> None:
        self._queue = queue
        self._dispatcher = dispatcher
        self._timer = PeriodicCallback(self._tend, SECOND_MS)

    def start(self) -> None:
        """Begins to renew the lease."""
        self._timer.start()

    def stop(self) -> None:
        """Ends the renewal. Can be called twice, and before `start`."""
        self._timer.stop()

    def _tend(self) -> None:
        with contextlib.suppress(QueueFullError, QueueClosedError):
            # If an earlier call is running, all requests made in the meantime share the next call.
            self._queue.submit(None).add_done_callback(self._end)

    def _end(self, tended: asyncio.Future[bool]) -> None:
        # The store has logged an error.
        if not tended.cancelled() and not tended.exception() and tended.result():
            # Another server can have made orders ready.
            self._dispatcher.wake()
