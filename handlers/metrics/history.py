"""The metrics of the last ten minutes, one point per second, for the dashboard's charts. Runs on the event loop."""

from collections import deque
from collections.abc import Callable

from msgspec import Struct

from handlers.metrics.histogram import RecentQuantiles
from handlers.metrics.instruments import Instruments
from handlers.metrics.rates import Sample, sample_of
from handlers.transport.json_encoder import encode
from models.clock import Clock
from models.order import Totals

MAX_POINTS = 600
INTERVAL_S = 1
"""The time between two calls of `History.add`, in seconds."""
QUANTILES = (0.5, 0.99)
"""The quantiles of durations in each point."""
_MICROSECONDS = 1_000_000


class Point(Struct, frozen=True, gc=False):
    """One point: rates in orders per second, counts, durations in seconds. `time` is in seconds since 1970, UTC.

    Rates and durations cover the time since the previous point. A duration is null if none was measured in that time.
    """

    time: float
    accepted_per_second: float
    completed_per_second: float
    pending: int
    processing: int
    ack_p50_seconds: float | None
    ack_p99_seconds: float | None
    processing_p50_seconds: float | None
    processing_p99_seconds: float | None


class History:
    """The last `MAX_POINTS` points. `monotonic` returns seconds."""

    def __init__(self, *, instruments: Instruments, clock: Clock, monotonic: Callable[[], float]) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._ack_s = RecentQuantiles(instruments.ack_s)
        self._processing_s = RecentQuantiles(instruments.processing_s)
        self._last: Sample | None = None
        self._points: deque[Point] = deque(maxlen=MAX_POINTS)

    def add(self, totals: Totals) -> Point | None:
        """Adds a point for the current totals, and returns it.

        Returns None on the first call, because a rate needs two samples. Also returns None if the clock has not
        advanced.
        """
        now_s = self._monotonic()
        if self._last and self._last.time_s >= now_s:
            return None
        last, self._last = self._last, sample_of(totals, now_s)
        ack_p50_s, ack_p99_s = map(_rounded, self._ack_s.quantiles(*QUANTILES))
        processing_p50_s, processing_p99_s = map(_rounded, self._processing_s.quantiles(*QUANTILES))
        if last is None:
            return None
        rate = last.rate_until(totals, now_s - last.time_s)
        point = Point(
            time=round(self._clock.wall_time() / _MICROSECONDS, 3),
            accepted_per_second=round(rate.accepted, 3),
            completed_per_second=round(rate.completed, 3),
            pending=totals.pending,
            processing=totals.processing,
            ack_p50_seconds=ack_p50_s,
            ack_p99_seconds=ack_p99_s,
            processing_p50_seconds=processing_p50_s,
            processing_p99_seconds=processing_p99_s,
        )
        self._points.append(point)
        return point

    def render(self) -> bytes:
        """All points as one JSON object with a list for each field, oldest first."""
        columns = {name: [getattr(point, name) for point in self._points] for name in Point.__struct_fields__}
        return encode({"interval_seconds": INTERVAL_S, **columns})


def _rounded(value: float | None) -> float | None:
    """Rounds to three significant digits."""
    return None if value is None else float(f"{value:.3g}")
