"""The interface of a processor. A processor runs on the worker threads, several calls at a time."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

from models.order import Order
from workers.observer import ServiceObserver
from workers.processors.outcomes import NotSentError


class Processor(Protocol):
    """Makes one attempt at each of the orders. If the call returns, all of them are Completed.

    If the call raises an exception of `workers.processors.outcomes`, it applies to each of the orders. After any other
    exception, each order is retried. If the call returns a future, the attempts end when the future ends, and its
    exception counts in the same way. It can end on any thread.
    """

    batch_size: int
    """The maximum number of orders per call. It is 1 if an order can take long or fail."""

    def __call__(self, orders: Sequence[Order]) -> Future[None] | None: ...


class MeasuredProcessor:
    """Wraps a processor and reports the duration of each call to the observer. `clock` is monotonic, in seconds."""

    def __init__(self, processor: Processor, *, observer: ServiceObserver, clock: Callable[[], float]) -> None:
        self.batch_size = processor.batch_size
        self._processor = processor
        self._observer = observer
        self._clock = clock
        self._lock = threading.Lock()

    def __call__(self, orders: Sequence[Order]) -> Future[None] | None:
        begin_s = self._clock()
        try:
            pending = self._processor(orders)
        except NotSentError:  # no attempt was made
            raise
        except BaseException:
            self._measure(begin_s, len(orders))
            raise
        if pending is None:
            self._measure(begin_s, len(orders))
        else:
            pending.add_done_callback(lambda _: self._measure(begin_s, len(orders)))
        return pending

    def _measure(self, begin_s: float, orders: int) -> None:
        duration_s = self._clock() - begin_s
        with self._lock:
            self._observer.attempts_ended(duration_s, orders)
