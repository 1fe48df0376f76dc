"""A thread that runs calls one after another.

`ThreadPoolExecutor.submit` makes a future, takes three locks and wakes a thread through a semaphore for each call. To
avoid this, CallThread uses a ThreadPoolExecutor for a single call: a loop that takes the actual calls from a queue.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, TypeVar

from workers.safe_log import log_safely

A = TypeVar("A")
R = TypeVar("R")

_log = logging.getLogger(__name__)


class CallThread:
    """A thread that runs calls in the order of `put` and `run`. The process can't exit before `close` is called."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Callable[[Any], None], Any] | None] = SimpleQueue()
        self._name = name
        self._pool = ThreadPoolExecutor(1, name)
        self._pool.submit(self._run)

    def put(self, call: Callable[[A], None], argument: A) -> None:
        """Schedules `call(argument)` on the thread, and returns at once. If the call raises, this is only logged."""
        self._calls.put((call, argument))

    async def run(self, call: Callable[..., R], *arguments: Any) -> R:
        """Runs `call(*arguments)` on the thread after the waiting calls, and returns its result or raises its error."""
        done: Future[R] = Future()

        def run_it(_: None) -> None:
            try:
                done.set_result(call(*arguments))
            except BaseException as error:  # noqa: BLE001 - outermost exception handler of the thread
                done.set_exception(error)

        self.put(run_it, None)
        return await asyncio.wrap_future(done)

    def close(self) -> None:
        """Makes the thread end after the waiting calls, and returns at once. Can be called twice."""
        self._calls.put(None)
        self._pool.shutdown(wait=False)

    def _run(self) -> None:
        while next_call := self._calls.get():
            call, argument = next_call
            try:
                call(argument)
            except BaseException as error:  # noqa: BLE001 - outermost exception handler of the thread
                log_safely(_log, logging.ERROR, "a call on the thread %s failed", self._name, error=error)
            # Frees the objects now, not when the next call arrives: a batch can have thousands of objects.
            del next_call, call, argument
