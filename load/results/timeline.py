"""Owns the course of a run over time, in intervals and points few enough to draw; pure values, any thread."""

from bisect import bisect_left
from itertools import count

from load.results.percentile import percentile_of
from load.results.recording import Recording

MOST_INTERVALS = 200
SHORTEST_NS = 1_000_000
MOST_POINTS = 1000


def interval_for(length_ns: int) -> int:
    """Give the shortest of 1, 2, 5, 10, ... milliseconds that cuts a time into no more than 200, in nanoseconds."""
    for power in count():
        for digit in (1, 2, 5):
            interval_ns: int = digit * 10**power * SHORTEST_NS
            if length_ns <= MOST_INTERVALS * interval_ns:
                return interval_ns
    raise AssertionError


def timeline_of(recording: Recording) -> dict[str, object]:
    """Give acknowledged orders a second and latencies by when the answers came, from the first request on.

    An interval has the orders that came in it over its whole length, so that they add up; where no answer came, its
    latencies are None.
    """
    interval_ns = interval_for(recording.last_answer_ns)
    answered_ns, latencies_ns = recording.answered_ns, recording.latencies_ns
    intervals = range(recording.last_answer_ns // interval_ns + 1 if recording else 0)
    rates: list[float] = []
    middles: list[float | None] = []
    tails: list[float | None] = []
    first = 0
    for number in intervals:
        end = bisect_left(answered_ns, (number + 1) * interval_ns, first)
        ascending_ns = sorted(latencies_ns[first:end])
        rates.append(sum(recording.orders[first:end]) * 1e9 / interval_ns)
        middles.append(percentile_of(ascending_ns, 50) / 1e6 if ascending_ns else None)
        tails.append(percentile_of(ascending_ns, 99) / 1e6 if ascending_ns else None)
        first = end
    return {
        "interval_s": interval_ns / 1e9,
        "start_s": [number * interval_ns / 1e9 for number in intervals],
        "orders_per_second": rates,
        "latency_p50_ms": middles,
        "latency_p99_ms": tails,
    }


class Course:
    """A number over time: every value at first, and fewer of them the longer it goes on; the last is always there."""

    def __init__(self) -> None:
        self._points: list[tuple[float, int]] = []
        self._last: list[tuple[float, int]] = []
        self._spacing_s = 0.0

    def add(self, time_s: float, value: int) -> None:
        """Take a value down."""
        if self._points and time_s - self._points[-1][0] < self._spacing_s:
            self._last = [(time_s, value)]
            return
        self._points.append((time_s, value))
        self._last = []
        if len(self._points) > MOST_POINTS:
            self._points = self._points[::2]
            self._spacing_s = 2 * (time_s - self._points[0][0]) / MOST_POINTS

    @property
    def points(self) -> list[tuple[float, int]]:
        """Times in seconds and values."""
        return self._points + self._last
