"""What processing an order means, and how a processor says that it did not succeed.

A processor runs on the worker threads, several at a time.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from models.order import Order

LONGEST_DELAY_S = 366 * 86_400
"""For how long, in seconds, a processor may put an order off."""


class Rejected(Exception):
    """Raised by a processor: the order can't be fulfilled, and trying again would not help. It is Failed."""

    def __init__(self, reason: object = "") -> None:
        super().__init__(str(reason) or "rejected")


class RetryLater(Exception):
    """Raised by a processor: the order is to be tried again in `seconds`, from 0 to a year. This attempt counts."""

    delay_s: float | None = None
    """None, in a subclass that does not call this class's `__init__`: as after any other error."""

    def __init__(self, seconds: float, reason: object = "") -> None:
        if not 0 <= seconds <= LONGEST_DELAY_S:
            raise ValueError(f"RetryLater takes from 0 to {LONGEST_DELAY_S} seconds, not {seconds}")
        super().__init__(str(reason) or f"to be tried again in {seconds:g} s")
        self.delay_s = float(seconds)


class NotDeliveredError(Exception):
    """Raised by the webhook's processor: the receiver did not take the order this time, and wants to be left alone for
    `retry_after_s` seconds."""

    def __init__(self, reason: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Processor(Protocol):
    """Makes one attempt at each of some orders; returns when all of them are completed.

    Raises Rejected, RetryLater or NotDeliveredError, which then hold for each of the orders; anything else that it
    raises is retried.
    """

    batch_size: int
    """How many orders a worker is given at once; 1 where an order may take long or fail."""

    def __call__(self, orders: Sequence[Order]) -> None: ...


class RecordProcessor:
    """Accepts an order as it is: it is Completed at once."""

    batch_size = 1_000

    def __call__(self, orders: Sequence[Order]) -> None:
        pass


class MeasuredProcessor:
    """Another processor, and how long it takes: `note(seconds, orders)` is told of each call, one at a time.

    `clock` is monotonic, in seconds.
    """

    def __init__(
        self, processor: Processor, *, note: Callable[[float, int], object], clock: Callable[[], float]
    ) -> None:
        self.batch_size = processor.batch_size
        self._processor = processor
        self._note = note
        self._clock = clock
        self._lock = threading.Lock()

    def __call__(self, orders: Sequence[Order]) -> None:
        begin_s = self._clock()
        try:
            self._processor(orders)
        finally:
            duration_s = self._clock() - begin_s
            with self._lock:
                self._note(duration_s, len(orders))
