"""Many awaits, one executor call: group commit for writes, one query for many concurrent reads.

A Batcher is used on the event loop; only its `work` runs on the executor's thread.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from models.errors import QueueClosedError, QueueFullError

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Hands the items that gather while a call runs to the next call.

    `work(items)` returns one result for each item, in order; a result that is an exception is raised to that item's
    waiter alone, an exception that `work` raises is raised to every waiter of the batch. At most one call runs at a
    time, with at most `max_batch` items; at most `max_waiting` wait, those of the call included. There is no timer.
    `after_batch(results)` is called on the loop once the results of a batch have been delivered.
    """

    def __init__(
        self,
        executor: Executor,
        work: Callable[[Sequence[T]], Sequence[R | Exception]],
        *,
        max_waiting: int,
        max_batch: int = 1_000,
        after_batch: Callable[[Sequence[R | BaseException]], object] = lambda results: None,
    ) -> None:
        self._executor = executor
        self._work = work
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._after_batch = after_batch
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[T, asyncio.Future[R], int]] = deque()
        self._places_taken = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    def submit(self, item: T, *, even_if_full: bool = False) -> asyncio.Future[R]:
        """The result for `item`.

        Raises QueueClosedError, and QueueFullError unless it gets in `even_if_full`; then it takes no place either.
        Cancelling the future gives the item up if its batch has not left; its place is free once it would have left.
        """
        if self._closed:
            raise QueueClosedError
        places = 0 if even_if_full else 1
        if places and self._places_taken >= self._max_waiting:
            raise QueueFullError
        self._places_taken += places
        future: asyncio.Future[R] = self._loop.create_future()
        self._waiting.append((item, future, places))
        if self._idle.is_set():
            self._idle.clear()
            # Everything that arrives in this turn of the loop shares the first batch.
            self._loop.call_soon(self._send)
        return future

    async def close(self) -> None:
        """Takes no more items and returns when every batch has been delivered; may be called twice."""
        self._closed = True
        await self._idle.wait()

    def _send(self) -> None:
        batch: list[tuple[T, asyncio.Future[R], int]] = []
        while self._waiting and len(batch) < self._max_batch:
            item, future, places = self._waiting.popleft()
            if future.cancelled():
                self._places_taken -= places
            else:
                batch.append((item, future, places))
        if batch:
            self._executor.submit(self._run, batch)
        else:
            self._idle.set()

    def _run(self, batch: list[tuple[T, asyncio.Future[R], int]]) -> None:
        results: Sequence[R | BaseException]
        try:
            results = self._work([item for item, _, _ in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"{len(batch)} items, but {len(results)} results")
        except BaseException as error:  # noqa: BLE001 - the thread's top: whatever it is belongs to the waiters
            results = [error] * len(batch)
        self._loop.call_soon_threadsafe(self._deliver, batch, results)

    def _deliver(self, batch: list[tuple[T, asyncio.Future[R], int]], results: Sequence[R | BaseException]) -> None:
        for (_, future, places), result in zip(batch, results, strict=True):
            self._places_taken -= places
            if future.cancelled():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
        self._send()
        self._after_batch(results)
