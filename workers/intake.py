"""Submits new orders to the store, one by one or in groups. Runs on the event loop."""

import asyncio
from collections.abc import Sequence

from models.writes.attempts import ClaimedOrders, FinishAndClaim
from models.writes.insertion import Insertion, InsertResult, NewOrder, NewOrders
from models.writes.waiter import Waiter
from workers.batcher import WriteBatcher

MAX_GROUPS = 4
"""The maximum number of groups in progress: two that are being written, and two for the next commit. The orders of one
call of `insert_many` are a group."""
GROUPS_BETWEEN_CLAIMS = 8
"""The number of groups that are stored between two claims under high load (`Intake.is_under_high_load`)."""


class Intake:
    """Submits new orders, and the writes of the dispatcher, to one queue, so that both share commits."""

    def __init__(self, *, writes: WriteBatcher) -> None:
        self._writes = writes
        self._groups = asyncio.Semaphore(MAX_GROUPS)
        self._open_groups = 0
        self._ended_groups = 0
        self._group_ended = asyncio.Event()

    def insert(self, order: NewOrder) -> asyncio.Future[Insertion]:
        """Stores the order. The future ends when the order is on disk, or with an error.

        Raises QueueFullError and QueueClosedError.
        """
        return self._writes.submit(order)

    def insert_for(self, order: NewOrder, waiter: Waiter[Insertion]) -> None:
        """Like `insert`, but the result goes to `waiter`. If this method raises, `waiter` is not called."""
        self._writes.submit_for(order, waiter)

    async def insert_many(self, orders: Sequence[NewOrder]) -> list[InsertResult]:
        """Stores the orders in one commit. Returns a result for each order.

        Waits while `MAX_GROUPS` other groups are in progress.

        If this method raises QueueClosedError or a storage error, none of the orders has been stored.
        """
        self._open_groups += 1
        try:
            async with self._groups:
                # MAX_GROUPS already limits groups, so they need not count towards the limit of the queue.
                return await self._writes.submit(NewOrders(orders), size=len(orders), even_if_full=True)
        finally:
            self._open_groups -= 1
            self._ended_groups += 1
            self._group_ended.set()
            self._group_ended.clear()

    def finish_and_claim(self, write: FinishAndClaim) -> asyncio.Future[ClaimedOrders]:
        """Puts a write of the dispatcher at the head of the queue, so that new orders do not delay processing."""
        return self._writes.submit(write, first=True, even_if_full=True)

    @property
    def is_under_high_load(self) -> bool:
        """Whether groups of orders arrive faster than they are written."""
        return self._open_groups > 1 + self._writes.sent

    async def wait_for_low_load(self) -> None:
        """Returns at once if the load is not high.

        Under high load, returns after GROUPS_BETWEEN_CLAIMS groups have been stored, or as soon as the load is not
        high.
        """
        enough = self._ended_groups + GROUPS_BETWEEN_CLAIMS
        while self.is_under_high_load and self._ended_groups < enough:
            await self._group_ended.wait()
