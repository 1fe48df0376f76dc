"""Collects concurrent requests into batches: group commit for writes, one query for many concurrent reads.

Runs on the event loop; only `work` runs on another thread.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from models.errors import QueueClosedError, QueueFullError
from models.writes.waiter import Waiter
from models.writes.write import AnyWrite, Write
from workers.safe_log import log_safely

T = TypeVar("T")
R = TypeVar("R")
A = TypeVar("A")

_Waiting = tuple[T, Waiter[R], int, int]
"""A tuple: the item, the waiter for its result, 1 if it counts towards `max_waiting` else 0, and the item's size."""

MAX_ITERATIONS = 4
"""The maximum number of iterations of the event loop that a batch waits for more items."""

_log = logging.getLogger(__name__)


class CallQueue(Protocol):
    """Runs calls on another thread. `workers.call_thread.CallThread` implements it."""

    def put(self, call: Callable[[A], None], argument: A, /) -> None:
        """Schedules `call(argument)` on the other thread, and returns at once."""


class BatchHooks(Protocol):
    """The batcher calls these methods on the event loop, before and after each batch, and logs their exceptions."""

    def before_batch(self) -> None:
        """Called before a batch is formed. An item submitted here with `first=True` is part of that batch."""

    def after_batch(self, items: Sequence[Any], results: Sequence[Any]) -> None:
        """Called when all results of the batch have been delivered. A result can be an exception."""


class Batcher(Generic[T, R]):
    """Passes the items that arrive during one call of `work` to the next call.

    `work(items)` returns one result for each item, in order. If a result is an exception, it is raised only to the
    caller that submitted this item. If `work` raises an exception, it is raised to all callers of the batch. One call
    runs at a time. A batch ends with the item that brings its total size to `max_batch`. At most `max_waiting` items
    wait, including the items of the running call. There is no timer: a single item that arrives while nothing runs is
    passed to `work` two iterations of the event loop later.

    While a call runs, up to `max_sent` - 1 further batches are sent to `thread` as soon as they are full. So the thread
    does not wait for the event loop between full batches.
    """

    def __init__(
        self,
        thread: CallQueue,
        work: Callable[[Sequence[T]], Sequence[R | Exception]],
        *,
        max_waiting: int,
        max_batch: int = 1_000,
        max_sent: int = 1,
        hooks: BatchHooks | None = None,
    ) -> None:
        self._thread = thread
        self._work = work
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._max_sent = max_sent
        self._hooks = hooks
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiting[T, R]] = deque()
        self._waiting_size = 0
        self._counted = 0
        self._sent = 0
        self._is_scheduled = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    def submit(self, item: T, *, size: int = 1, first: bool = False, even_if_full: bool = False) -> asyncio.Future[R]:
        """Adds `item` to the queue. Returns a future for its result.

        `size` counts towards `max_batch`. `first` puts the item at the head of the queue. Raises QueueClosedError after
        `close`, and QueueFullError if `max_waiting` items wait. An item with `even_if_full` does not count towards
        `max_waiting`, and is accepted even if `max_waiting` items wait.

        Cancelling the future withdraws the item if its batch has not been formed yet.
        """
        future: asyncio.Future[R] = self._loop.create_future()
        self.submit_for(item, future, size=size, first=first, even_if_full=even_if_full)
        return future

    def submit_for(
        self, item: T, waiter: Waiter[R], *, size: int = 1, first: bool = False, even_if_full: bool = False
    ) -> None:
        """Like `submit`, but the result goes to `waiter`. If this method raises, `waiter` is not called."""
        if self._closed:
            raise QueueClosedError
        counted = 0 if even_if_full else 1
        if counted and self._counted >= self._max_waiting:
            raise QueueFullError
        self._counted += counted
        (self._waiting.appendleft if first else self._waiting.append)((item, waiter, counted, size))
        self._waiting_size += size
        self._idle.clear()
        self._schedule()

    @property
    def sent(self) -> int:
        """The number of batches that have been sent to the thread, and whose results have not been delivered yet."""
        return self._sent

    async def close(self) -> None:
        """Accepts no more items and returns when all results have been delivered. Can be called twice."""
        self._closed = True
        await self._idle.wait()

    def _schedule(self) -> None:
        """Sends the next batch soon, unless an earlier batch must end first."""
        is_full = self._waiting_size >= self._max_batch
        if not self._is_scheduled and (not self._sent or (is_full and self._sent < self._max_sent)):
            self._is_scheduled = True
            self._loop.call_soon(self._send_when_quiet)

    def _send_when_quiet(self, seen: int = 0, iterations: int = 0) -> None:
        """Sends the next batch after an iteration of the event loop without a new item, or after MAX_ITERATIONS.

        Waiting a few microseconds can add many items to a batch, and a larger commit takes hardly longer than a small
        one.
        """
        if len(self._waiting) > seen and iterations < MAX_ITERATIONS:
            self._loop.call_soon(self._send_when_quiet, len(self._waiting), iterations + 1)
        else:
            self._send()

    def _send(self) -> None:
        batch: list[_Waiting[T, R]] = []
        left = self._max_batch
        if self._hooks and self._waiting and not self._closed:
            self._call_hook(self._hooks.before_batch)
        while self._waiting and left > 0:
            waiting = self._waiting.popleft()
            _, waiter, counted, size = waiting
            self._waiting_size -= size
            if waiter.cancelled():
                self._counted -= counted
            else:
                batch.append(waiting)
                left -= size
        self._is_scheduled = False
        if batch:
            self._sent += 1
            self._thread.put(self._run, batch)
            self._schedule()
        elif not self._sent:
            self._idle.set()

    def _run(self, batch: list[_Waiting[T, R]]) -> None:
        items = [waiting[0] for waiting in batch]
        results: Sequence[R | BaseException]
        try:
            results = self._work(items)
            if len(results) != len(batch):
                raise RuntimeError(f"{len(batch)} items, but {len(results)} results")
        except BaseException as error:  # noqa: BLE001 - outermost exception handler of the thread
            results = [error] * len(batch)
        with contextlib.suppress(RuntimeError):  # the event loop is closed
            self._loop.call_soon_threadsafe(self._deliver, batch, items, results)

    def _deliver(self, batch: list[_Waiting[T, R]], items: Sequence[T], results: Sequence[R | BaseException]) -> None:
        self._sent -= 1
        for (_, waiter, counted, _), result in zip(batch, results, strict=True):
            self._counted -= counted
            try:
                if waiter.cancelled():
                    continue
                if isinstance(result, BaseException):
                    waiter.set_exception(result)
                else:
                    waiter.set_result(result)
            except Exception as error:  # noqa: BLE001 - the other waiters must still get their results
                log_safely(_log, logging.ERROR, "a result could not be delivered", error=error)
        # The next batch is sent a little later, so that clients that have just received results can add requests to it.
        self._schedule()
        if self._hooks:
            self._call_hook(self._hooks.after_batch, items, results)

    def _call_hook(self, hook: Callable[..., None], *arguments: Any) -> None:
        try:
            hook(*arguments)
        except Exception as error:  # noqa: BLE001 - the batcher must go on with the next batch
            log_safely(_log, logging.ERROR, "%s failed", hook, error=error)


class WriteBatcher(Batcher[AnyWrite, Any]):
    """A Batcher of writes. The type of a write determines the type of its result."""

    if TYPE_CHECKING:

        def submit(
            self, item: Write[R], *, size: int = 1, first: bool = False, even_if_full: bool = False
        ) -> asyncio.Future[R]: ...

        def submit_for(
            self, item: Write[R], waiter: Waiter[R], *, size: int = 1, first: bool = False, even_if_full: bool = False
        ) -> None: ...
