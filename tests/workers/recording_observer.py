"""A ServiceObserver that records its calls."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from models.changes.feed import FeedRead
from models.changes.order_changes import OrderChange
from models.database.health import StorageStatus, Work
from models.measurements import Measurement
from models.order import Totals
from models.writes.result import WriteResult
from models.writes.write import AnyWrite


class RecordingObserver:
    """Records every call. Create it on a running loop."""

    def __init__(self, *, wants_changes: bool = True) -> None:
        self.wants_changes = wants_changes
        self.batches: list[tuple[list[AnyWrite], list[WriteResult | BaseException]]] = []
        self.changes: list[OrderChange] = []
        self.parts: list[FeedRead] = []
        self.seconds = 0
        self.totals: list[Totals | None] = []
        self.writable: list[bool] = []
        self.deliveries: list[tuple[bool, dict[str, int]]] = []
        self.unsaved: list[Measurement] = []
        self.stored: list[list[Measurement]] = []
        self.commits_s: list[float] = []
        self.attempts: list[int] = []
        self.calls: list[tuple[int, int]] = []
        self._loop = asyncio.get_running_loop()
        self._called = asyncio.Event()

    def batch_written(self, batch: Sequence[AnyWrite], results: Sequence[WriteResult | BaseException]) -> None:
        self.batches.append((list(batch), list(results)))
        self._called.set()

    def orders_changed(self, changes: Sequence[OrderChange]) -> None:
        self.changes += changes
        self._called.set()

    def feed_read(self, read: FeedRead) -> None:
        self.parts.append(read)
        self._called.set()

    def second_passed(self) -> None:
        self.seconds += 1
        self._called.set()

    def attempts_counted(self, *, in_time: int, overdue: int) -> None:
        self.calls.append((in_time, overdue))
        self._called.set()

    def storage_checked(self, status: StorageStatus, totals: Totals | None) -> None:
        self.totals.append(totals)
        self.writable.append(status.up[Work.WRITES])
        self._called.set()

    def unsaved_measurements(self) -> Sequence[Measurement]:
        return list(self.unsaved)

    def measurements_saved(self, saved: Sequence[Measurement]) -> None:
        self.unsaved = [each for each in self.unsaved if each not in saved]
        self._called.set()

    def measurements_read(self, stored: Sequence[Measurement]) -> None:
        self.stored.append(list(stored))
        self._called.set()

    def deliveries_read(self, *, is_paused: bool, pauses: Mapping[str, int]) -> None:
        self.deliveries.append((is_paused, dict(pauses)))
        self._called.set()

    def commit_ended(self, duration_s: float) -> None:
        self.commits_s.append(duration_s)
        self._loop.call_soon_threadsafe(self._called.set)

    def attempts_ended(self, duration_s: float, orders: int) -> None:
        self.attempts.append(orders)
        self._loop.call_soon_threadsafe(self._called.set)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Returns when the condition is true. The condition is checked after each call."""
        while not condition():
            await self._called.wait()
            self._called.clear()
