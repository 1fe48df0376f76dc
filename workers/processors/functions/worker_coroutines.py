"""Makes attempts with an async function. Its coroutines share one event loop on a separate thread."""

import contextlib
from collections.abc import Coroutine
from functools import partial
from typing import Any, Protocol

from models.order import Order
from workers.processors.functions.attempts import Attempts
from workers.processors.functions.coroutine_thread import CoroutineThread
from workers.processors.functions.time_outs import Place


class AsyncProcessor(Protocol):
    """Returns a coroutine that makes an attempt at the order.

    `Processor` (`worker_threads.py`) describes the effect of an exception that the coroutine raises.
    """

    def __call__(self, order: Order, /) -> Coroutine[Any, Any, None]: ...


class WorkerCoroutines:
    """Runs `processor` for each order, on the event loop of `coroutines`. Implements `Workers` (`runner.py`).

    `coroutines` cancels a coroutine that exceeds the time-out. If the coroutine ignores the cancellation, its attempt
    is given up, and one more coroutine can run.
    """

    def __init__(self, *, processor: AsyncProcessor, coroutines: CoroutineThread) -> None:
        self._processor = processor
        self._coroutines = coroutines
        self._is_woken = False

    def open(self, attempts: Attempts) -> None:
        self._attempts = attempts

    def wake(self) -> None:
        """Schedules attempts at waiting orders on the thread. Raises RuntimeError if the thread can't be started."""
        if self._is_woken:
            return
        self._is_woken = True
        try:
            self._coroutines.call_soon(self._begin_attempts)
        except (RuntimeError, OSError) as error:  # no thread can be started, or too many files are open
            self._is_woken = False
            raise RuntimeError(str(error)) from error

    def wake_all(self) -> None:
        self._is_woken = False  # the event loop that was woken can have ended
        with contextlib.suppress(RuntimeError):
            self.wake()

    def close(self) -> None:
        self._coroutines.close()

    def close_in_child(self) -> None:
        """Does nothing, because the child has no event loop that would begin attempts."""

    # On the thread of the coroutines

    def _begin_attempts(self) -> None:
        self._is_woken = False
        if not self._coroutines.is_current:  # this event loop is ending; the queue will start another one
            return
        while self._attempts.has_free_place:
            place = Place()
            if not (order := self._attempts.begin(place)):
                return
            self._attempts.places.add(place)
            self._coroutines.run(self._processor(order), partial(self._end, place))

    def _end(self, place: Place, error: BaseException | None) -> None:
        self._attempts.places.discard(place)
        self._attempts.end(place, error)
        self._begin_attempts()
