"""An event loop on a thread of its own, for the coroutines of a user's function."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

from workers.processors.outcomes import NoResultError
from workers.safe_log import log_safely

_log = logging.getLogger(__name__)


class CoroutineThread:
    """Runs coroutines on one event loop. The thread starts with the first coroutine.

    A coroutine that has not ended after `timeout_s` seconds is cancelled. There is no limit if `timeout_s` is None.
    The process can't exit before `close` is called and all coroutines have ended.
    """

    def __init__(self, *, timeout_s: float | None = None) -> None:
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[BaseException | None]] = set()
        self._is_closed = False

    def start(self, coroutine: Coroutine[Any, Any, None]) -> Future[None]:
        """Runs the coroutine on the thread of this object. Must be called on another thread.

        The future ends when the coroutine ends. If the coroutine raised an exception, the future has the same
        exception; after the time-out, it has a NoResultError.

        Raises RuntimeError after `close` or if no thread can be started, and OSError if the process has too many open
        files. If this method raises, it has closed the coroutine.
        """
        ended: Future[None] = Future()

        def end(error: BaseException | None) -> None:
            if error is None:
                ended.set_result(None)
            else:
                ended.set_exception(error)

        try:
            self.call_soon(lambda: self.run(coroutine, end))
        except (RuntimeError, OSError):
            coroutine.close()
            raise
        return ended

    def call_soon(self, call: Callable[[], None]) -> None:
        """Schedules `call()` on the thread. Raises RuntimeError and OSError in the same cases as `start`."""
        self._running_loop().call_soon_threadsafe(self._call, call)

    @property
    def is_current(self) -> bool:
        """Whether the caller runs on the event loop of this object, and this event loop is not about to end."""
        return asyncio.get_running_loop() is self._loop

    def run(self, coroutine: Coroutine[Any, Any, None], end: Callable[[BaseException | None], None]) -> None:
        """Runs the coroutine, then calls `end` with its exception, or None. Must be called by a call of `call_soon`."""
        task = asyncio.get_running_loop().create_task(self._error_of(coroutine))
        # The event loop has only weak references to tasks.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # The task is cancelled before it begins if the event loop ends.
        task.add_done_callback(lambda done: end(asyncio.CancelledError() if done.cancelled() else done.result()))

    def close(self) -> None:
        """Cancels all coroutines, and does not wait. The thread ends when they have ended. Can be called twice."""
        with self._lock:
            self._is_closed = True
            if self._loop:
                with contextlib.suppress(RuntimeError):  # the loop is closed already
                    self._loop.call_soon_threadsafe(self._stop.set)

    def _call(self, call: Callable[[], None]) -> None:
        if self.is_current:
            call()
        else:  # if the event loop ends, it would not run the new coroutine
            self.call_soon(call)

    async def _error_of(self, coroutine: Coroutine[Any, Any, None]) -> BaseException | None:
        """Runs the coroutine, and returns its exception or None.

        If the task raised SystemExit or KeyboardInterrupt, the event loop would end.
        """
        limit = asyncio.timeout(self._timeout_s)
        try:
            async with limit:
                await coroutine
        except BaseException as error:  # noqa: BLE001 - outermost exception handler of the task
            return NoResultError(self._timeout_s or 0.0) if limit.expired() else error
        return None

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop. Starts the thread if it does not run."""
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the server stops")
            if self._loop is None or self._thread is None or not self._thread.is_alive():
                # The loop is created on this thread, so that the caller gets the error if too many files are open.
                self._loop, self._stop = asyncio.new_event_loop(), asyncio.Event()
                self._thread = threading.Thread(target=self._serve, args=(self._loop, self._stop), name="coroutines")
                try:
                    self._thread.start()
                except RuntimeError:  # no thread can be started
                    self._loop.close()
                    raise
            return self._loop

    def _serve(self, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
        # At the end of the `with` block, the runner cancels all tasks.
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            try:
                runner.run(stop.wait())
            except BaseException as error:  # noqa: BLE001 - outermost exception handler of the thread
                # For example, a task that the user's function started raised SystemExit, or stopped the event loop.
                text = "the event loop of the coroutines ended: the next coroutine starts a new one"
                log_safely(_log, logging.ERROR, text, error=error)
            finally:
                with self._lock:
                    if self._loop is loop:
                        self._loop = None
