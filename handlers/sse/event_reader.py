"""One reader of order events: its connection, its filter and its position in the log. Runs on the event loop."""

import asyncio
from collections.abc import Callable

from handlers.requests.request_head import RequestHead
from handlers.sse.connection import ReaderSet, SseConnection
from handlers.sse.event_log import EventFilter, EventLog

MAX_WRITE_BYTES = 64 * 1024
"""About how many bytes are written and buffered at a time for a reader that has fallen behind."""


class OrderEventReader(SseConnection):
    """The connection to one reader. `send` passes new events to this reader, unless `is_busy`.

    Events that arrive while `is_busy` are read from the log when the last write has been sent. `position` is the number
    of the first event that this reader must get from the log.
    """

    def __init__(
        self,
        head: RequestHead,
        *,
        event_filter: EventFilter,
        log: EventLog,
        position: int,
        readers: "ReaderSet[OrderEventReader]",
        clock: Callable[[], float],
    ) -> None:
        super().__init__(head, readers=readers, clock=clock)
        self.event_filter = event_filter
        self._position = position
        self._log = log

    @property
    def has_missed_events(self) -> bool:
        """Whether the log has dropped events that have not yet been sent to this reader."""
        return self.is_busy and self._position < self._log.first

    def send(self, text: bytes, chunk: bytes | None = None) -> None:
        """Sends `text`, the events up to the end of the log. Must not be called while `is_busy`.

        `chunk` is `as_chunk(text)`, if the caller has already computed it.
        """
        self._position = self._log.end
        self.write(text, chunk)

    def write_completed(self) -> None:
        super().write_completed()
        if self.is_closed:
            return
        if self._position < self._log.first:
            self.close()
            return
        text, self._position = self._log.read(self._position, self.event_filter, max_bytes=MAX_WRITE_BYTES)
        if text:
            self.write(text)
        if not self.is_busy and self._position < self._log.end:
            # Continues in the next iteration of the event loop, because many readers may reconnect at the same time.
            self.is_busy = True
            asyncio.get_running_loop().call_soon(self.write_completed)
