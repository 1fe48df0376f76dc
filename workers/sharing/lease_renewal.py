"""Renews the server's lease of a database that several servers share. Runs on the event loop."""

import asyncio
import contextlib

from tornado.ioloop import PeriodicCallback

from models.errors import QueueClosedError, QueueFullError
from models.store import Store
from workers.batcher import Batcher
from workers.dispatch.dispatcher import Dispatcher
from workers.processors.claim_gate import ClaimGate

SECOND_MS = 1_000


class LeaseRenewal:
    """Runs `Store.tend` each second, until `stop`. Has its own timer, so that a slow read does not delay the renewal.

    If another server has made orders ready or has resumed processing, this server continues too. `queue` must pass its
    items to the thread that writes, which calls `tend` of `store`.
    """

    def __init__(self, queue: Batcher[None, bool], *, store: Store, dispatcher: Dispatcher, gate: ClaimGate) -> None:
        self._queue = queue
        self._store = store
        self._dispatcher = dispatcher
        self._gate = gate
        self._resumes: int | None = None
        self._timer = PeriodicCallback(self._tend, SECOND_MS)

    def start(self) -> None:
        """Begins to renew the lease."""
        self._timer.start()

    def stop(self) -> None:
        """Ends the renewal. Can be called twice, and before `start`."""
        self._timer.stop()

    def end_pause(self) -> bool:
        """Must be called when this server has resumed processing. Ends the pause of the gate.

        Returns False if there is no pause.
        """
        if self._resumes is not None:
            self._resumes += 1  # so that the next `tend` does not end a later pause
        if not self._gate.end_pause():
            return False
        self._dispatcher.wake()
        return True

    def _tend(self) -> None:
        with contextlib.suppress(QueueFullError, QueueClosedError):
            # If an earlier call is running, all requests made in the meantime share the next call.
            self._queue.submit(None).add_done_callback(self._end)

    def _end(self, tended: asyncio.Future[bool]) -> None:
        # The store has logged an error.
        if tended.cancelled() or tended.exception():
            return
        before, self._resumes = self._resumes, self._store.resumes
        has_resumed = before is not None and self._resumes is not None and self._resumes > before
        if has_resumed:
            self._gate.end_pause()
        if has_resumed or tended.result():
            # Another server can have made orders ready.
            self._dispatcher.wake()
