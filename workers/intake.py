"""How orders get in, and who waits for their end. Lives on the event loop."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import cast

from models.changes import FINAL
from models.errors import QueueClosedError, QueueFullError, StorageBusyError, StorageUnavailableError
from models.order import NewOrder, Order
from models.writes import Inserted, Insertion, NewOrders, Write, Written
from workers.batcher import Batcher
from workers.waiters import Finals

MAX_GROUPS = 4
"""How many groups of orders may wait for a commit: two that are written, and two for the next one."""

GROUPS_BETWEEN_GAPS = 8
"""Who sends thousands of orders wants them to be safe first; meanwhile processing goes on with a part of them."""


class Intake:
    """Takes orders in as long as fewer than `max_backlog` are Pending; `pending` tells how many are."""

    def __init__(
        self,
        *,
        writes: Batcher[Write, Written],
        finds: Batcher[int, Order | None],
        finals: Finals,
        pending: Callable[[], int],
        max_backlog: int,
    ) -> None:
        self._writes = writes
        self._finds = finds
        self._finals = finals
        self._pending = pending
        self._max_backlog = max_backlog
        self._groups = asyncio.Semaphore(MAX_GROUPS)
        self._open_groups = 0
        self._ended_groups = 0
        self._group_ended = asyncio.Event()

    def insert(self, order: NewOrder) -> asyncio.Future[Insertion]:
        """What has been done with the order once it is on disk; raises OrderConflictError there.

        Raises QueueFullError, QueueClosedError.
        """
        self._check_backlog()
        return cast(asyncio.Future[Insertion], self._writes.submit(order))

    async def insert_many(self, orders: list[NewOrder]) -> list[Inserted]:
        """What has been done with each of them; waits for room before the commit, but not for room in the backlog.

        Raises QueueFullError, QueueClosedError and storage errors; none of them is stored then.
        """
        self._open_groups += 1
        try:
            async with self._groups:
                self._check_backlog()
                # Their number is bounded above, so that they take no place of those that come one by one.
                written = self._writes.submit(NewOrders(orders), size=len(orders), even_if_full=True)
                return cast(list[Inserted], await written)
        finally:
            self._open_groups -= 1
            self._ended_groups += 1
            self._group_ended.set()
            self._group_ended.clear()

    @property
    def is_flooded(self) -> bool:
        """Whether groups of orders come faster than they can be written."""
        return self._open_groups > 1

    async def gap(self) -> None:
        """Returns when there is time for something else: at once, or, in a flood, after some groups of orders."""
        enough = self._ended_groups + GROUPS_BETWEEN_GAPS
        while self.is_flooded and self._ended_groups < enough:
            await self._group_ended.wait()

    def find(self, order_id: int) -> asyncio.Future[Order | None]:
        """The order as it is now; None where there is none. Raises QueueFullError, QueueClosedError."""
        return self._finds.submit(order_id)

    async def find_final(self, order_id: int, timeout_s: float) -> Order | None:
        """The order once it is Completed, Failed or Cancelled, or as it is after `timeout_s`; None where there is none.

        Raises QueueFullError, QueueClosedError and storage errors.
        """
        with self._finals.expected(order_id) as ended:
            order = await self._finds.submit(order_id)
            if order is None or order.status in FINAL:
                return order
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), timeout_s)
        return await self._finds.submit(order_id)

    async def until_final(
        self, inserted: asyncio.Future[Insertion], order_id: int, timeout_s: float
    ) -> tuple[Insertion, Order | None]:
        """What has been done with an order, and the order itself if it has come to its end within `timeout_s`."""
        insertion = await inserted
        # It is on disk: whatever happens from now on, that is what the client is to be told.
        with contextlib.suppress(QueueFullError, QueueClosedError, StorageBusyError, StorageUnavailableError):
            found = await self.find_final(order_id, timeout_s)
            if found and found.status in FINAL:
                return insertion, found
        return insertion, None

    def _check_backlog(self) -> None:
        if self._pending() >= self._max_backlog:
            raise QueueFullError
