"""How far this server has read the feed. Requests for events wait until it has read far enough. Runs on the event loop.

See `models/changes/feed.py` about the feed.
"""

import asyncio
from collections.abc import Callable

from handlers.sse.event_ids import FeedIds
from models.changes.feed import FeedRead
from models.errors import QueueClosedError, StorageUnavailableError

READ_S = 10.0
"""How long a request waits until the feed has been read."""
AHEAD_S = 2.0
"""How long a request waits if its Last-Event-ID is later than all event ids of this server. Another server has sent
this id. This server will know the id after one of its next reads of the feed."""


class FeedProgress:
    """Updates `ids` when the feed has been read. A request must wait for `until_ready` before it opens a stream."""

    def __init__(self, ids: FeedIds) -> None:
        self._ids = ids
        self._is_current = False
        self._reads = 0
        self._waiting: set[asyncio.Future[None]] = set()
        self._count = 0
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return self._count

    def note_read(self, read: FeedRead) -> None:
        """Must be called when the feed has been read, after its events have been passed on."""
        self._is_current = not read.has_more or (self._is_current and not read.is_restart)
        self._reads += 1
        self._ids.note_read(read.last)
        self._wake()

    def note_idle(self) -> None:
        """Must be called before a request if there are no readers. Without readers, the feed is not read."""
        if not self._count:
            self._is_current = False

    def is_ready(self, last_id: str | None) -> bool:
        """Whether the log of this server is up to date, and contains `last_id`, the last event that the reader got."""
        if last_id and (self._ids.is_ahead(last_id) or self._ids.is_of_other_epoch(last_id)):
            return False
        return self._is_current

    async def until_ready(self, last_id: str | None) -> None:
        """Waits until `is_ready`. Raises StorageUnavailableError if the feed can't be read.

        Also returns if the event `last_id` does not appear in time. Raises QueueClosedError if `close` is called.
        """
        self._count += 1
        # The next read can have begun before this call.
        last_read = self._reads + 2

        def is_decided() -> bool:
            is_old = last_id is not None and self._ids.is_of_other_epoch(last_id) and self._reads >= last_read
            return is_old or self.is_ready(last_id)

        try:
            if not await self._until(lambda: self._is_current, READ_S):
                raise StorageUnavailableError("the changes of orders can't be read in time")
            await self._until(is_decided, AHEAD_S)
        finally:
            self._count -= 1

    def close(self) -> None:
        """Makes every `until_ready` raise QueueClosedError. Can be called twice."""
        self._closed = True
        self._wake()

    async def _until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Waits until the condition is true, at most `timeout_s` seconds. Returns whether it is true."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self._closed and not condition():
                    future = asyncio.get_running_loop().create_future()
                    self._waiting.add(future)
                    try:
                        await future
                    finally:
                        self._waiting.discard(future)
        except TimeoutError:
            return False
        if self._closed:
            raise QueueClosedError
        return True

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)
