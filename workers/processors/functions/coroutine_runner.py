"""Makes attempts with an async function. Its coroutines share one event loop on a separate thread."""

import contextlib
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Protocol

from models.order import Order
from workers.processors.functions.coroutine_thread import CoroutineThread
from workers.processors.functions.time_outs import Place, TimeOuts
from workers.processors.order_queue import QUEUE_S, OrderQueue
from workers.processors.processor import AttemptReports


class AsyncProcessor(Protocol):
    """Returns a coroutine that makes an attempt at the order.

    `Processor` (`thread_runner.py`) describes the effect of an exception that the coroutine raises.
    """

    def __call__(self, order: Order, /) -> Coroutine[Any, Any, None]: ...


class CoroutineRunner:
    """Runs `processor` for up to `workers` orders at a time, on the event loop of `coroutines`.

    `coroutines` cancels a coroutine that takes longer than `timeout_s` seconds. If the coroutine ignores this, its
    attempt is given up, and one more coroutine can run. `clock` returns monotonic seconds.
    """

    def __init__(
        self,
        *,
        processor: AsyncProcessor,
        coroutines: CoroutineThread,
        workers: int,
        timeout_s: float | None = None,
        queue_s: float = QUEUE_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._processor = processor
        self._coroutines = coroutines
        self._clock = clock
        self._queue = OrderQueue(queue_s=queue_s, clock=clock)
        self._time_outs = TimeOuts(timeout_s=timeout_s, places=workers, clock=clock)
        self._is_woken = False

    @property
    def capacity(self) -> int:
        return self._queue.capacity()

    @property
    def in_time(self) -> int:
        return self._time_outs.in_time

    @property
    def overdue(self) -> int:
        return self._time_outs.overdue

    def open(self, reports: AttemptReports) -> None:
        self._reports = reports
        self._queue.open(reports, on_stall=self._wake_again, places=self._time_outs.usable_places)
        self._time_outs.open(reports, on_overdue=self._wake_again)

    def start(self, orders: Sequence[Order]) -> None:
        self._queue.put(orders)
        self._wake()

    def withdraw(self) -> Sequence[Order]:
        return self._queue.take_all()

    def close(self) -> None:
        self._queue.close()
        self._time_outs.close()
        self._coroutines.close()

    def close_in_child(self) -> None:
        self._queue.take_all()

    def _wake(self) -> None:
        """Schedules attempts at waiting orders on the thread. Raises RuntimeError if the thread can't be started."""
        if self._is_woken:
            return
        self._is_woken = True
        try:
            self._coroutines.call_soon(self._begin_attempts)
        except (RuntimeError, OSError) as error:  # no thread can be started, or too many files are open
            self._is_woken = False
            raise RuntimeError(str(error)) from error

    def _wake_again(self) -> None:
        self._is_woken = False  # its event loop can have ended
        with contextlib.suppress(RuntimeError):
            self._wake()

    # On the thread of the coroutines

    def _begin_attempts(self) -> None:
        self._is_woken = False
        if not self._coroutines.is_current:  # it ends, and the queue wakes a new one
            return
        running = self._time_outs.places
        while len(running) - self._time_outs.overdue < self._time_outs.usable_places():
            if not (order := self._queue.take()):
                return
            begun_s = self._clock()
            place = Place()
            place.attempt = order, begun_s
            running.add(place)
            self._coroutines.run(self._processor(order), partial(self._end, place, order, begun_s))

    def _end(self, place: Place, order: Order, begun_s: float, error: BaseException | None) -> None:
        duration_s = self._clock() - begun_s
        was_overdue = place.is_overdue
        place.attempt = None
        self._time_outs.places.discard(place)
        if error is None:
            self._reports.completed((order,), duration_s)
        else:
            self._reports.failed(order, error, duration_s)
        self._queue.measure(duration_s)
        if was_overdue:
            self._time_outs.note_end()
        self._begin_attempts()
