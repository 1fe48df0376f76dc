"""Makes attempts on worker threads. When an attempt has ended, its thread takes the next order.

So a slow attempt occupies only its own thread. Needs no lock: each operation on the list and the set is atomic.
"""

import contextlib
import logging
from concurrent.futures import Executor
from math import ceil
from threading import Lock
from typing import Protocol

from models.order import Order
from workers.processors.functions.attempts import Attempts
from workers.processors.functions.time_outs import Place
from workers.safe_log import log_safely

SHORT_S = 0.001
"""If the mean attempt takes fewer seconds than this, one thread is woken for as many orders as it can attempt in this
time."""

_log = logging.getLogger(__name__)


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


class WorkerThreads:
    """Calls `processor` with each order, on threads of `pool`. Implements `Workers` (`runner.py`).

    The thread of an overdue attempt can't be stopped, so another thread replaces it. Therefore `pool` must have twice
    as many threads as the runner has places. Without a time-out, one thread for each place is enough.
    """

    def __init__(self, *, processor: Processor, pool: Executor) -> None:
        self._processor = processor
        self._pool = pool
        self._idle: list[_Worker] = []
        self._is_closed = False

    def open(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._threads = attempts.places

    def wake(self) -> None:
        mean_s, wanted = self._attempts.mean_s, self._attempts.waiting
        if mean_s < SHORT_S:  # each thread that is awake also takes as many orders as it can attempt in SHORT_S
            awake = len(self._threads) - len(self._idle) - self._attempts.overdue
            wanted = ceil(wanted * mean_s / SHORT_S) - awake
        self._wake(wanted)

    def wake_all(self) -> None:
        with contextlib.suppress(RuntimeError):  # no thread can be started
            self._wake(self._attempts.waiting)

    def close(self) -> None:
        self._is_closed = True
        while self._wake_idle_thread():
            pass
        self._pool.shutdown(wait=False, cancel_futures=True)

    def close_in_child(self) -> None:
        self._is_closed = True

    def _wake(self, count: int) -> None:
        """Wakes or starts up to `count` threads. Raises RuntimeError if no thread runs and none can be started."""
        for _ in range(min(count, self._attempts.max_places)):
            if self._wake_idle_thread():
                continue
            if not self._attempts.has_free_place:
                return
            self._start_thread()

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
        try:
            while worker in self._threads and not self._is_closed:
                if order := self._attempts.begin(worker):
                    self._attempt(worker, order)
                else:
                    self._wait(worker)
        except BaseException as error:  # noqa: BLE001 - outermost exception handler of the thread
            log_safely(_log, logging.ERROR, "a worker thread ended: another thread takes its place", error=error)
            self._threads.discard(worker)

    def _wait(self, worker: _Worker) -> None:
        self._idle.append(worker)
        if self._attempts.waiting or self._is_closed:  # new orders, or a stop, since the last check
            with contextlib.suppress(ValueError):  # already removed by a thread that wakes this one
                self._idle.remove(worker)
                return
        worker.wake.acquire()

    def _attempt(self, worker: _Worker, order: Order) -> None:
        try:
            self._processor(order)
        except BaseException as error:  # noqa: BLE001 - outermost exception handler of the attempt
            was_overdue = self._attempts.end(worker, error)
        else:
            was_overdue = self._attempts.end(worker, None)
        # If this attempt was overdue, another thread has replaced this thread.
        if was_overdue and len(self._threads) - self._attempts.overdue > self._attempts.max_places:
            self._threads.discard(worker)
