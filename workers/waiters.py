"""Who waits for an order to be Completed, Failed or Cancelled. Lives on the event loop."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from models.changes import FINAL, Change
from models.errors import QueueFullError


class Finals:
    """Wakes those who wait for an order's end; at most `max_waiting` wait."""

    def __init__(self, *, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._count = 0
        self._waiting: defaultdict[int, set[asyncio.Event]] = defaultdict(set)
        self._closed = False

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return self._count > 0

    @contextmanager
    def expected(self, order_id: int) -> Iterator[asyncio.Event]:
        """An event that is set once the order has come to its end since the block began, or at `close`.

        Raises QueueFullError.
        """
        if self._count >= self._max_waiting:
            raise QueueFullError
        event = asyncio.Event()
        if self._closed:
            event.set()
        self._count += 1
        self._waiting[order_id].add(event)
        try:
            yield event
        finally:
            self._count -= 1
            self._waiting[order_id].discard(event)
            if not self._waiting[order_id]:
                del self._waiting[order_id]

    def publish(self, changes: Iterable[Change]) -> None:
        """Wakes whom these changes concern."""
        for change in changes:
            if change.order_id in self._waiting and change.status in FINAL:
                self._wake(change.order_id)

    def close(self) -> None:
        """Wakes everybody, those included who are yet to come; may be called twice."""
        self._closed = True
        for order_id in list(self._waiting):
            self._wake(order_id)

    def _wake(self, order_id: int) -> None:
        for event in self._waiting[order_id]:
            event.set()
