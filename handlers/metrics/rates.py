"""Orders accepted and completed per second, over the last minute. Runs on the event loop."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from models.order import Totals

WINDOW_S = 60.0
SHORTEST_SPAN_S = 1.0
"""The shortest time over which rates are averaged, so that the first orders after the start don't look like a peak."""


class Rate(NamedTuple):
    """Orders per second."""

    accepted: float
    completed: float


class Sample(NamedTuple):
    """The numbers of orders accepted and completed until `time_s`, in seconds of a monotonic clock."""

    time_s: float
    accepted: int
    completed: int

    def rate_until(self, totals: Totals, span_s: float) -> Rate:
        """The rate between this sample and totals that were read `span_s` seconds later."""
        return Rate((totals.orders - self.accepted) / span_s, (totals.completed - self.completed) / span_s)


def sample_of(totals: Totals, time_s: float) -> Sample:
    """Makes a sample of totals that were read at this time."""
    return Sample(time_s, totals.orders, totals.completed)


class Rates:
    """Rates over the last `WINDOW_S` seconds, at first over the time since the first sample. `clock` is monotonic."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._samples: deque[Sample] = deque()

    def sample(self, totals: Totals) -> None:
        """Stores the current totals. Must be called about once a second."""
        now_s = self._clock()
        while self._samples and self._samples[0].time_s < now_s - WINDOW_S:
            self._samples.popleft()
        self._samples.append(sample_of(totals, now_s))

    def up_to(self, totals: Totals) -> Rate:
        """The rates from the oldest sample in the window until now. `totals` must be the current totals."""
        if not self._samples:
            return Rate(0.0, 0.0)
        oldest = self._samples[0]
        return oldest.rate_until(totals, max(self._clock() - oldest.time_s, SHORTEST_SPAN_S))
