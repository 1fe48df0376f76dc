"""The orders that a runner has: orders that wait for their attempts, and orders that are being attempted.

Usable on any thread; the timers run on the event loop.
"""

from collections.abc import Callable, Sequence

from models.order import Order
from workers.processors.functions.time_outs import Place, TimeOuts
from workers.processors.order_queue import OrderQueue
from workers.processors.processor import AttemptReports


class Attempts:
    """Begins an attempt at each order, oldest first, and reports how the attempt ended.

    Up to `places` attempts run at a time: a place is a thread or a coroutine that runs one attempt at a time. An
    attempt is given up after `timeout_s` seconds. None means that there is no time-out. `queue_s` is documented in
    OrderQueue. `clock` returns monotonic seconds.
    """

    def __init__(self, *, places: int, timeout_s: float | None, queue_s: float, clock: Callable[[], float]) -> None:
        self.max_places = places
        self._clock = clock
        self._queue = OrderQueue(queue_s=queue_s, clock=clock)
        self._time_outs = TimeOuts(timeout_s=timeout_s, places=places, clock=clock)
        self.places = self._time_outs.places
        """The threads or coroutines that make attempts. The runner adds and removes them."""

    def open(self, reports: AttemptReports, *, on_stall: Callable[[], None]) -> None:
        """Must be called once, on the event loop.

        `on_stall` is called on the event loop when no attempt has begun for some time although orders wait, and after
        attempts have been given up.
        """
        self._reports = reports
        self._queue.open(reports, on_stall=on_stall, places=self._time_outs.usable_places)
        self._time_outs.open(reports, on_overdue=on_stall)

    @property
    def capacity(self) -> int:
        """See `AttemptRunner`."""
        return self._queue.capacity()

    @property
    def in_time(self) -> int:
        """See `AttemptRunner`."""
        return self._time_outs.in_time

    @property
    def overdue(self) -> int:
        """See `AttemptRunner`."""
        return self._time_outs.overdue

    @property
    def waiting(self) -> int:
        """How many orders wait for their attempts."""
        return len(self._queue)

    @property
    def mean_s(self) -> float:
        """The mean duration of the latest attempts, in seconds."""
        return self._queue.mean_s

    @property
    def has_free_place(self) -> bool:
        """Whether another place can be added. A place with an overdue attempt does not count."""
        return len(self.places) - self._time_outs.overdue < self._time_outs.usable_places()

    def put(self, orders: Sequence[Order]) -> None:
        """Adds orders to those that wait. Must be called on the event loop."""
        self._queue.put(orders)

    def withdraw(self) -> Sequence[Order]:
        """Removes and returns the orders that wait."""
        return self._queue.take_all()

    def begin(self, place: Place) -> Order | None:
        """Begins the attempt at the oldest order that waits, and returns this order. None if no order waits."""
        order = self._queue.take()
        if order:
            place.attempt = order, self._clock()
        return order

    def end(self, place: Place, error: BaseException | None) -> bool:
        """Ends the attempt and reports the result. Returns whether the attempt had been given up before."""
        attempt = place.attempt
        if attempt is None:
            raise RuntimeError("this place has no attempt")
        order, begun_s = attempt
        duration_s = self._clock() - begun_s
        place.attempt = None
        if error is None:
            self._reports.completed((order,), duration_s)
        else:
            self._reports.failed(order, error, duration_s)
        self._queue.measure(duration_s)
        if place.given_up is not attempt:
            return False
        self._time_outs.note_end()
        return True

    def close(self) -> None:
        """Ends the timers. Must be called on the event loop. Can be called twice."""
        self._queue.close()
        self._time_outs.close()
