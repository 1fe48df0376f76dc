"""Latencies, rates and numbers over time: as they are recorded, and as a report draws them.

Values that the event loop writes. A few numbers for each response, in arrays, so that a long run takes little memory.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import count, pairwise
from math import ceil

from load.http.connections import RequestTiming

CURVE = (
    *range(0, 90, 10),
    *(90, 92.5, 95, 97, 98, 99, 99.25, 99.5, 99.75, 99.9, 99.925, 99.95, 99.975, 99.99, 99.995, 99.999),
)
"""Percentiles to draw a curve through, closer together where it rises."""
MOST_INTERVALS = 200
SHORTEST_NS = 1_000_000
MOST_POINTS = 1000


def percentile_of(ascending: Sequence[int], percentile: float) -> int:
    """Return the percentile by nearest rank; 100 is the last value. IndexError if there are no values."""
    # Rounded, since 41,000 * 99.9 / 100 is a little more than 40,959 in floating point.
    rank = ceil(round(len(ascending) * percentile / 100, 6))
    return ascending[max(1, rank) - 1]


class Distribution:
    """Latencies, sorted once."""

    def __init__(self, latencies_ns: Iterable[int]) -> None:
        self._ascending_ns = array("q", sorted(latencies_ns))

    def percentile_ms(self, percentile: float) -> float | None:
        """Return a percentile in milliseconds by nearest rank (100 is the maximum); None if there are no values."""
        return percentile_of(self._ascending_ns, percentile) / 1e6 if self._ascending_ns else None

    def curve(self) -> dict[str, list[float]]:
        """Return percentiles and their latencies, as far as there are enough values for one to be above each."""
        size = len(self._ascending_ns)
        percentiles = [*(float(one) for one in CURVE if round(size * (100 - one), 6) >= 100), 100.0] if size else []
        latencies_ms = [percentile_of(self._ascending_ns, one) / 1e6 for one in percentiles]
        return {"percentile": percentiles, "latency_ms": latencies_ms}


class Recording:
    """Responses in the order in which they came: when, how long since the request was due and sent, how many orders.

    `answered_ns` counts from `started_ns`, when the first request was sent.
    """

    def __init__(self, *, started_ns: int = 0) -> None:
        self.started_ns = started_ns
        self.answered_ns = array("q")
        self.latencies_ns = array("q")
        self.sending_latencies_ns = array("q")
        self.orders = array("H")

    def __len__(self) -> int:
        return len(self.answered_ns)

    def add(self, timing: RequestTiming, *, orders: int) -> None:
        self.answered_ns.append(timing.answered_ns - self.started_ns)
        self.latencies_ns.append(timing.from_due_ns)
        self.sending_latencies_ns.append(timing.from_sending_ns)
        self.orders.append(orders)

    def due_from(self, first_ns: int) -> "Recording":
        """Return those whose requests were due then or later."""
        if not first_ns:
            return self
        later = Recording()
        timings = map(RequestTiming, self.answered_ns, self.latencies_ns, self.sending_latencies_ns)
        for timing, orders in zip(timings, self.orders, strict=True):
            if timing.answered_ns - timing.from_due_ns >= first_ns:
                later.add(timing, orders=orders)
        return later


def interval_for(length_ns: int) -> int:
    """Return the shortest of 1, 2, 5, 10, ... milliseconds that cuts a time into 200 or fewer, in nanoseconds."""
    lengths = (digit * int(10**power) * SHORTEST_NS for power in count() for digit in (1, 2, 5))
    return next(interval_ns for interval_ns in lengths if length_ns <= MOST_INTERVALS * interval_ns)


def timeline_of(recording: Recording) -> dict[str, object]:
    """Return acknowledged orders a second and latencies by when the responses came, from the first request on.

    Every response counts in the interval in which it came. An interval without responses has latencies of None.
    """
    answered_ns = recording.answered_ns
    last_ns = answered_ns[-1] if answered_ns else 0
    interval_ns = interval_for(last_ns)
    starts_ns = [number * interval_ns for number in range(last_ns // interval_ns + 1 if answered_ns else 0)]
    bounds = [*(bisect_left(answered_ns, start_ns) for start_ns in starts_ns), len(answered_ns)]
    intervals = [slice(first, end) for first, end in pairwise(bounds)]
    latencies = [Distribution(recording.latencies_ns[interval]) for interval in intervals]
    return {
        "interval_s": interval_ns / 1e9,
        "start_s": [start_ns / 1e9 for start_ns in starts_ns],
        "orders_per_second": [sum(recording.orders[interval]) * 1e9 / interval_ns for interval in intervals],
        "latency_p50_ms": [one.percentile_ms(50) for one in latencies],
        "latency_p99_ms": [one.percentile_ms(99) for one in latencies],
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
