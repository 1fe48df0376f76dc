"""The interface of a processor. It is called on the worker threads, on several threads at a time."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

from models.order import Order
from workers.observer import ServiceObserver
from workers.processors.outcomes import NotSentError


class Processor(Protocol):
    """Makes one attempt at each of the orders. If the call returns None, all of these orders are Completed.

    An exception applies to each of these orders. The exceptions of `workers.processors.outcomes` document their effect;
    after any other exception, the order is retried. If the call returns a future, the attempts end when the future
    ends: an exception of the future has the same effect as one that the call raises. The future can end on any thread.
    """

    batch_size: int
    """The maximum number of orders per call. It is 1 if an order can fail, because all orders of a call end alike."""

    def __call__(self, orders: Sequence[Order]) -> Future[None] | None: ...


class MeasuredProcessor:
    """Wraps a processor and reports the duration of each call to the observer. `clock` returns monotonic seconds."""

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
        except NotSentError:  # the order was not sent, so there is no duration to report
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
