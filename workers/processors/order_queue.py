"""The orders that wait for their attempts. Usable on any thread; the timer runs on the event loop.

Needs no lock: each operation on the shared deque is atomic.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

from models.order import Order
from workers.processors.outcomes import NotSentError
from workers.processors.processor import AttemptReports

QUEUE_S = 0.05
"""About how many seconds an order waits in the queue for its attempt."""
MAX_ORDERS = 1_000
"""The maximum number of orders that wait or are being attempted. If even more attempts can run at a time, their number
is the maximum."""
MAX_WAIT_S = 1.0
"""Orders that have waited for this number of seconds, because attempts have become slow, become Pending again."""
TICK_S = 0.005
"""While orders wait, the queue is checked after each interval of this number of seconds."""
SHORTEST_S = 0.000_001
"""In the mean duration, an attempt that takes fewer seconds than this counts as if it took this time."""
WEIGHT_OF_LATEST = 0.1
"""The weight of the latest attempt in the mean duration."""


class OrderQueue:
    """Keeps orders, oldest first, until attempts at them begin.

    The shorter attempts are, the more orders can wait: about as many as are attempted in `queue_s` seconds. Orders wait
    until a thread or a coroutine is free. If no orders waited here, a free thread would have to wait for the next
    commit, because orders are claimed in commits.
    """

    def __init__(self, *, queue_s: float = QUEUE_S, clock: Callable[[], float] = time.perf_counter) -> None:
        self._queue_s = queue_s
        self._clock = clock
        self._orders: deque[Order] = deque()
        self.mean_s = MAX_WAIT_S
        """The mean duration of the latest attempts, in seconds."""
        self._tick: asyncio.TimerHandle | None = None
        self._oldest: tuple[Order | None, float] = (None, 0.0)
        self._last_put_s = 0.0

    def __len__(self) -> int:
        return len(self._orders)

    def open(self, reports: AttemptReports, *, on_stall: Callable[[], None], places: Callable[[], int]) -> None:
        """Must be called once, on the event loop. `places` returns how many attempts can run at a time.

        `on_stall` is called on the event loop if no order was taken between two checks of the queue.
        """
        self._reports = reports
        self._on_stall = on_stall
        self._places = places
        self._loop = asyncio.get_running_loop()

    def capacity(self) -> int:
        """How many orders can wait or be attempted at this moment, in total."""
        places = self._places()
        return max(places, min(places + self._attempts_in(self._queue_s), MAX_ORDERS))

    def put(self, orders: Sequence[Order]) -> None:
        """Adds the orders. Must be called on the event loop."""
        self._orders.extend(orders)
        self._last_put_s = self._clock()
        if self._tick is None:
            self._tick = self._loop.call_later(TICK_S, self._check)

    def take(self) -> Order | None:
        """Removes and returns the oldest order; returns None if no order waits."""
        try:
            return self._orders.popleft()
        except IndexError:
            return None

    def take_all(self) -> list[Order]:
        """Removes and returns all orders."""
        taken: list[Order] = []
        while order := self.take():  # other threads take orders at the same time
            taken.append(order)
        return taken

    def measure(self, duration_s: float) -> None:
        """Must be called after each attempt, with its duration."""
        # If two threads assign the mean at the same time, one of the durations is ignored.
        self.mean_s += (duration_s - self.mean_s) * WEIGHT_OF_LATEST

    def close(self) -> None:
        """Ends the timer. Must be called on the event loop. Can be called twice."""
        if self._tick:
            self._tick.cancel()

    def _attempts_in(self, seconds: float) -> int:
        """About how many attempts end in this number of seconds."""
        return int(self._places() * seconds / max(self.mean_s, SHORTEST_S))

    def _check(self) -> None:
        """Calls `on_stall` if no order has been taken since the last check, and puts back orders that wait too long."""
        self._tick = None
        try:
            oldest = self._orders[0]
        except IndexError:
            return
        # Set before the calls below, because one of them can raise.
        self._tick = self._loop.call_later(TICK_S, self._check)
        now_s = self._clock()
        known, since_s = self._oldest
        stalled_s = 0.0
        if oldest is known:
            stalled_s = now_s - since_s
            self._on_stall()
        else:
            self._oldest = oldest, now_s
        if stalled_s >= MAX_WAIT_S:
            self.mean_s = max(self.mean_s, stalled_s)
        # Attempts have become slow. All waiting orders become Pending. Later, only as many are claimed as can be
        # attempted.
        if max(stalled_s, now_s - self._last_put_s) >= MAX_WAIT_S:
            for order in self.take_all():
                self._reports.failed(order, NotSentError(), 0.0)
