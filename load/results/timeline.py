"""A run over time, in intervals and points few enough to draw. Pure values, any thread."""

from bisect import bisect_left
from itertools import count

from load.results.recording import Recording, percentile_of

MOST_INTERVALS = 200
SHORTEST_NS = 1_000_000
MOST_POINTS = 1000


def interval_for(length_ns: int) -> int:
    """Return the shortest of 1, 2, 5, 10, ... milliseconds that cuts a time into 200 or fewer, in nanoseconds."""
    lengths = (digit * int(10**power) * SHORTEST_NS for power in count() for digit in (1, 2, 5))
    return next(interval_ns for interval_ns in lengths if length_ns <= MOST_INTERVALS * interval_ns)


def timeline_of(recording: Recording) -> dict[str, object]:
    """Return acknowledged orders a second and latencies by when the responses came, from the first request on.

    Every response counts in the interval in which it came. An interval without responses has latencies of None.
    """
    interval_ns = interval_for(recording.last_answer_ns)
    intervals = range(recording.last_answer_ns // interval_ns + 1 if recording else 0)
    rates: list[float] = []
    p50s: list[float | None] = []
    p99s: list[float | None] = []
    first = 0
    for number in intervals:
        end = bisect_left(recording.answered_ns, (number + 1) * interval_ns, first)
        ascending_ns = sorted(recording.latencies_ns[first:end])
        rates.append(sum(recording.orders[first:end]) * 1e9 / interval_ns)
        for percentile, values in ((50, p50s), (99, p99s)):
            values.append(percentile_of(ascending_ns, percentile) / 1e6 if ascending_ns else None)
        first = end
    return {
        "interval_s": interval_ns / 1e9,
        "start_s": [number * interval_ns / 1e9 for number in intervals],
        "orders_per_second": rates,
        "latency_p50_ms": p50s,
        "latency_p99_ms": p99s,
    }


class TimeSeries:
    """A number over time. Keeps every value at first, fewer as it gets longer, and always the last."""

    def __init__(self) -> None:
        self._points: list[tuple[float, int]] = []
        self._last: list[tuple[float, int]] = []
        self._spacing_s = 0.0

    def add(self, time_s: float, value: int) -> None:
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
