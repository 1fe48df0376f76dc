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
    """

    def __init__(self, *, timeout_s: float | None = None) -> None:
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._is_closed = False

    def run(self, coroutine: Coroutine[Any, Any, object]) -> object:
        """Runs the coroutine, and returns or raises the same as the coroutine. Called on any other thread.

        Raises NoResultError after the time-out, but not before the cancelled coroutine has ended.
        """
        try:
            loop = self._running_loop()
        except BaseException:
            coroutine.close()
            raise
        result, error = asyncio.run_coroutine_threadsafe(self._result_of(coroutine), loop).result()
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """Cancels all coroutines. The thread ends when they have ended. Does not wait. Can be called twice."""
        with self._lock:
            self._is_closed = True
            if self._loop and self._stop and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._stop.set)

    async def _result_of(self, coroutine: Coroutine[Any, Any, object]) -> tuple[object, BaseException | None]:
        limit = asyncio.timeout(self._timeout_s)
        try:
            async with limit:
                return await coroutine, None
        # Returned, because SystemExit and KeyboardInterrupt would end the event loop.
        except BaseException as error:  # noqa: BLE001 - outermost exception handler of the task
            return None, NoResultError(self._timeout_s or 0.0) if limit.expired() else error

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop. Starts the thread if it does not run."""
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the server stops")
            if self._loop is None or self._thread is None or not self._thread.is_alive():
                started: Future[asyncio.AbstractEventLoop] = Future()
                # The process can exit while it runs. The threads that wait for coroutines delay the exit, if needed.
                self._thread = threading.Thread(target=self._serve, args=(started,), name="coroutines", daemon=True)
                self._thread.start()
                self._loop = started.result()
            return self._loop

    def _serve(self, started: "Future[asyncio.AbstractEventLoop]") -> None:
        async def wait_for_stop() -> None:
            self._stop = asyncio.Event()
            started.set_result(asyncio.get_running_loop())
            await self._stop.wait()

        # A task that the function has started can raise SystemExit. The next coroutine then gets a new thread.
        with contextlib.suppress(SystemExit):
            # At the end, this cancels all tasks.
            asyncio.run(wait_for_stop())
