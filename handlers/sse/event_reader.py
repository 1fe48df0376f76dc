"""One reader of the orders' events: its connection, and its place in the log. Lives on the event loop."""

import asyncio
from collections.abc import Callable

from handlers.sse.connection import SseConnection
from handlers.sse.event_log import EventFilter, EventLog
from handlers.transport.request_head import RequestHead

MAX_WRITE_BYTES = 64 * 1024
"""What this process holds for a reader that goes on from the log and takes nothing more."""


class OrderEventReader(SseConnection):
    """Has what is written to it at once, or goes on from its place in the log when it has taken what it was sent."""

    def __init__(
        self,
        head: RequestHead,
        *,
        interest: EventFilter,
        log: EventLog,
        position: int,
        forget: Callable[["OrderEventReader"], None],
        clock: Callable[[], float],
    ) -> None:
        super().__init__(head, forget=lambda: forget(self), clock=clock)
        self.interest = interest
        self._position = position
        self._log = log

    @property
    def is_left_behind(self) -> bool:
        """Whether the log does not reach back to its place any more."""
        return self.is_busy and self._position < self._log.first

    def tell(self, text: bytes, chunk: bytes | None = None) -> None:
        """Sends events, after which it has everything that is in the log; only for a reader that is not busy.

        `chunk` is the text framed, where many are to have it.
        """
        self._position = self._log.end
        self.write(text, chunk)

    def go_on(self) -> None:
        super().go_on()
        if self.is_closed:
            return
        if self._position < self._log.first:
            self.drop()
            return
        text, self._position = self._log.since(self._position, self.interest, max_bytes=MAX_WRITE_BYTES)
        if text:
            self.write(text)
        if not self.is_busy and self._position < self._log.end:
            # Others have their turn in between: many may come back at once.
            self.is_busy = True
            asyncio.get_running_loop().call_soon(self.go_on)
