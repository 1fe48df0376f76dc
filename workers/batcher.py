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


_Waiting = tuple[T, asyncio.Future[R], int, int]
"""An item, who waits for its result, how many places it takes, and its size."""


class Batcher(Generic[T, R]):
    """Hands the items that gather while a call runs to the next call.

    `work(items)` returns one result for each item, in order; a result that is an exception is raised to that item's
    waiter alone, an exception that `work` raises is raised to every waiter of the batch. At most one call runs at a
    time; its items have a size of `max_batch` together, give or take the last one. At most `max_waiting` items wait,
    those of the call included. There is no timer. On the loop, `before_batch()` is called as a batch is about to leave,
    and what it submits `first` leaves with it; `after_batch(items, results)` once its results have been delivered.
    """

    def __init__(
        self,
        executor: Executor,
        work: Callable[[Sequence[T]], Sequence[R | Exception]],
        *,
        max_waiting: int,
        max_batch: int = 1_000,
        before_batch: Callable[[], object] = lambda: None,
        after_batch: Callable[[Sequence[T], Sequence[R | BaseException]], object] = lambda items, results: None,
    ) -> None:
        self._executor = executor
        self._work = work
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._before_batch = before_batch
        self._after_batch = after_batch
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiting[T, R]] = deque()
        self._places_taken = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    def submit(self, item: T, *, size: int = 1, first: bool = False, even_if_full: bool = False) -> asyncio.Future[R]:
        """The result for `item`, which counts as `size` in a batch, and goes before those that wait if it is `first`.

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
        (self._waiting.appendleft if first else self._waiting.append)((item, future, places, size))
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
        batch: list[_Waiting[T, R]] = []
        left = self._max_batch
        if self._waiting and not self._closed:
            self._before_batch()
        while self._waiting and left > 0:
            waiting = self._waiting.popleft()
            _, future, places, size = waiting
            if future.cancelled():
                self._places_taken -= places
            else:
                batch.append(waiting)
                left -= size
        if batch:
            self._executor.submit(self._run, batch)
        else:
            self._idle.set()

    def _run(self, batch: list[_Waiting[T, R]]) -> None:
        items = [waiting[0] for waiting in batch]
        results: Sequence[R | BaseException]
        try:
            results = self._work(items)
            if len(results) != len(batch):
                raise RuntimeError(f"{len(batch)} items, but {len(results)} results")
        except BaseException as error:  # noqa: BLE001 - the thread's top: whatever it is belongs to the waiters
            results = [error] * len(batch)
        self._loop.call_soon_threadsafe(self._deliver, batch, items, results)

    def _deliver(self, batch: list[_Waiting[T, R]], items: Sequence[T], results: Sequence[R | BaseException]) -> None:
        for (_, future, places, _), result in zip(batch, results, strict=True):
            self._places_taken -= places
            if future.cancelled():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
        self._send()
        self._after_batch(items, results)
