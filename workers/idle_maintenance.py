"""Decides when the store does its maintenance. Runs on the event loop."""

import contextlib

from models.errors import QueueClosedError, QueueFullError
from workers.batcher import Batcher

IDLE_S = 3
"""How many seconds must pass without a write before maintenance runs."""


class IdleMaintenance:
    """Runs `Store.maintain` once a second while the last write is more than `IDLE_S` seconds ago.

    `queue` must pass its items to a thread that calls `Store.maintain`.
    """

    def __init__(self, queue: Batcher[None, None]) -> None:
        self._queue = queue
        self._idle_s = 0

    def note_write(self) -> None:
        """Must be called after each write to the store."""
        self._idle_s = 0

    def second_passed(self) -> None:
        """Must be called each second. Does not wait for maintenance. Failed maintenance is repeated a second later."""
        self._idle_s += 1
        if self._idle_s > IDLE_S:
            with contextlib.suppress(QueueFullError, QueueClosedError):
                # If a call of `maintain` is running, all requests made in the meantime share the next call.
                self._queue.submit(None).add_done_callback(lambda done: done.cancelled() or done.exception())
