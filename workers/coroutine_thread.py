"""An event loop on a thread of its own, for the coroutines of a user's function."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any

from workers.processors.outcomes import NoResultError


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
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def start(self, coroutine: Coroutine[Any, Any, None]) -> Future[None]:
        """Runs the coroutine. Called on any other thread. The future ends with the coroutine, and gets its exception.

        After the time-out, the exception is NoResultError. Raises RuntimeError, and closes the coroutine, after `close`
        or if the thread can't be started.
        """
        ended: Future[None] = Future()
        try:
            self._running_loop().call_soon_threadsafe(self._create_task, coroutine, ended)
        except RuntimeError:
            coroutine.close()
            raise
        return ended

    def close(self) -> None:
        """Cancels all coroutines. The thread ends when they have ended. Does not wait. Can be called twice."""
        with self._lock:
            self._is_closed = True
            if self._loop:
                with contextlib.suppress(RuntimeError):  # the loop is closed already
                    self._loop.call_soon_threadsafe(self._stop.set)

    def _create_task(self, coroutine: Coroutine[Any, Any, None], ended: Future[None]) -> None:
        task = asyncio.get_running_loop().create_task(self._run(coroutine, ended))
        # The event loop has only weak references to tasks.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, coroutine: Coroutine[Any, Any, None], ended: Future[None]) -> None:
        limit = asyncio.timeout(self._timeout_s)
        try:
            async with limit:
                await coroutine
        # Not raised, because SystemExit and KeyboardInterrupt would end the event loop.
        except BaseException as error:  # noqa: BLE001 - outermost exception handler of the task
            ended.set_exception(NoResultError(self._timeout_s or 0.0) if limit.expired() else error)
        else:
            ended.set_result(None)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop. Starts the thread if it does not run."""
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the server stops")
            if self._loop is None or self._thread is None or not self._thread.is_alive():
                started: Future[asyncio.AbstractEventLoop] = Future()
                self._thread = threading.Thread(target=self._serve, args=(started,), name="coroutines")
                self._thread.start()
                self._loop = started.result()
            return self._loop

    def _serve(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        async def wait_for_stop() -> None:
            self._stop = asyncio.Event()
            started.set_result(asyncio.get_running_loop())
            await self._stop.wait()

        # A task that the function has started can raise SystemExit. The next coroutine then gets a new thread.
        with contextlib.suppress(SystemExit):
            # At the end, this cancels all tasks.
            asyncio.run(wait_for_stop())
