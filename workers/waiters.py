"""Requests that wait until an order is Completed, Failed or Cancelled. Runs on the event loop."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from models.changes.order_changes import TERMINAL_STATUSES, OrderChange
from models.errors import QueueFullError


class CompletionWaiters:
    """Wakes the tasks that wait for an order to end. At most `max_waiting` tasks wait."""

    def __init__(self, *, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._count = 0
        self._waiting: defaultdict[int, set[asyncio.Event]] = defaultdict(set)
        self._closed = False

    def __len__(self) -> int:
        """How many tasks wait."""
        return self._count

    @contextmanager
    def waiting_for(self, order_id: int) -> Iterator[asyncio.Event]:
        """An event that is set when the order ends during the `with` block, or at `close`. Raises QueueFullError."""
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

    def publish(self, changes: Iterable[OrderChange]) -> None:
        """Wakes the tasks that wait for orders which `changes` makes Completed, Failed or Cancelled."""
        self.wake(change.order_id for change in changes if change.status in TERMINAL_STATUSES)

    def order_ids(self) -> list[int]:
        """The ids of the orders for which tasks wait."""
        return list(self._waiting)

    def wake(self, order_ids: Iterable[int]) -> None:
        """Wakes the tasks that wait for these orders, which have ended."""
        for order_id in order_ids:
            if order_id in self._waiting:
                self._wake(order_id)

    def close(self) -> None:
        """Wakes all waiting tasks. An event that is created after this is set at once. Can be called twice."""
        self._closed = True
        for order_id in list(self._waiting):
            self._wake(order_id)

    def _wake(self, order_id: int) -> None:
        for event in self._waiting[order_id]:
            event.set()
