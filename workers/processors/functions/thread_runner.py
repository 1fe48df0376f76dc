"""Makes attempts on worker threads, which take orders one by one from one queue.

So a slow attempt occupies only its own thread. Needs no lock: each operation on the list and the set is atomic.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from math import ceil
from threading import Lock
from typing import Protocol

from models.order import Order
from workers.processors.functions.time_outs import Place, TimeOuts
from workers.processors.order_queue import QUEUE_S, OrderQueue
from workers.processors.processor import AttemptReports

SHORT_S = 0.001
"""If the mean attempt takes fewer seconds than this, one thread is woken for as many orders as it can attempt in this
time."""


class Processor(Protocol):
    """Makes an attempt at an order. Is called on worker threads, several calls at a time.

    If the call returns, the order is Completed. The exceptions of `workers.processors.outcomes` document their effect.
    After any other exception, the order is retried.
    """

    def __call__(self, order: Order, /) -> None: ...


class _Worker(Place):
    """A worker thread. While the thread is idle, it waits for the lock `wake`."""

    __slots__ = ("wake",)

    def __init__(self) -> None:
        super().__init__()
        self.wake = Lock()
        self.wake.acquire()


class ThreadRunner:
    """Calls `processor` with each order, on up to `workers` threads of `pool`.

    Gives up an attempt after `timeout_s` seconds. The thread of such an attempt can't be stopped, so another thread
    replaces it. Therefore `pool` must have `2 * workers` threads. If `timeout_s` is None, there is no time-out, and
    `workers` threads are enough. `clock` returns monotonic seconds.
    """

    def __init__(
        self,
        *,
        processor: Processor,
        pool: Executor,
        workers: int,
        timeout_s: float | None = None,
        queue_s: float = QUEUE_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._processor = processor
        self._pool = pool
        self._workers = workers
        self._clock = clock
        self._queue = OrderQueue(queue_s=queue_s, clock=clock)
        self._time_outs = TimeOuts(timeout_s=timeout_s, places=workers, clock=clock)
        self._threads = self._time_outs.places
        self._idle: list[_Worker] = []
        self._is_closed = False

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
        self._queue.open(reports, on_stall=self._use_all_threads, places=self._time_outs.usable_places)
        self._time_outs.open(reports, on_overdue=self._use_all_threads)

    def start(self, orders: Sequence[Order]) -> None:
        self._queue.put(orders)
        mean_s = self._queue.mean_s
        wanted = len(self._queue)
        if mean_s < SHORT_S:  # the threads that are awake take the orders of this time, too
            awake = len(self._threads) - len(self._idle) - self._time_outs.overdue
            wanted = ceil(wanted * mean_s / SHORT_S) - awake
        self._wake(wanted)

    def withdraw(self) -> Sequence[Order]:
        return self._queue.take_all()

    def close(self) -> None:
        self._is_closed = True
        self._queue.close()
        self._time_outs.close()
        while self._wake_idle_thread():
            pass
        self._pool.shutdown(wait=False, cancel_futures=True)

    def close_in_child(self) -> None:
        self._is_closed = True
        self._queue.take_all()

    def _use_all_threads(self) -> None:
        with contextlib.suppress(RuntimeError):  # no thread can be started
            self._wake(len(self._queue))

    def _wake(self, count: int) -> None:
        """Wakes or starts up to `count` threads. Raises RuntimeError if no thread runs and none can be started."""
        for _ in range(min(count, self._workers)):
            if self._wake_idle_thread():
                continue
            if len(self._threads) - self._time_outs.overdue < self._time_outs.usable_places():
                self._start_thread()
            else:
                return

    def _wake_idle_thread(self) -> bool:
        try:
            worker = self._idle.pop()
        except IndexError:
            return False
        worker.wake.release()
        return True

    def _start_thread(self) -> None:
        worker = _Worker()
        self._threads.add(worker)
        try:
            self._pool.submit(self._serve, worker)
        except RuntimeError:
            self._threads.discard(worker)
            if not self._threads:
                raise

    # On the worker threads

    def _serve(self, worker: _Worker) -> None:
        """Makes attempts until the runner is closed, or until another thread has replaced this thread."""
        while worker in self._threads and not self._is_closed:
            if order := self._queue.take():
                self._attempt(worker, order)
            else:
                self._wait(worker)

    def _wait(self, worker: _Worker) -> None:
        self._idle.append(worker)
        if len(self._queue) or self._is_closed:  # since this thread has looked
            with contextlib.suppress(ValueError):  # another thread has just removed it, in order to wake it
                self._idle.remove(worker)
                return
        worker.wake.acquire()

    def _attempt(self, worker: _Worker, order: Order) -> None:
        begun_s = self._clock()
        worker.attempt = attempt = order, begun_s
        try:
            self._processor(order)
        except BaseException as error:  # noqa: BLE001 - outermost exception handler of the thread
            duration_s = self._clock() - begun_s
            worker.attempt = None
            self._reports.failed(order, error, duration_s)
        else:
            duration_s = self._clock() - begun_s
            worker.attempt = None
            self._reports.completed((order,), duration_s)
        self._queue.measure(duration_s)
        if worker.given_up is attempt:
            self._time_outs.note_end()
            # Another thread has taken the place of this one.
            if len(self._threads) - self._time_outs.overdue > self._workers:
                self._threads.discard(worker)
