"""How it went in the last minutes, a point a second, for whoever comes to look. Lives on the event loop."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from msgspec import Struct

from handlers.metrics.histogram import RecentQuantiles
from handlers.metrics.instruments import Instruments
from handlers.transport.json_encoder import encode
from models.order import Totals

MAX_POINTS = 600
INTERVAL_S = 1
"""How often `add` is to be called."""
PARTS = (0.5, 0.99)
"""Which quantiles of the durations there are."""
_MICROSECONDS = 1_000_000


class Point(Struct, frozen=True, gc=False):
    """One moment: rates in orders per second, counts, durations in seconds. `time` is in seconds since 1970, UTC.

    Rates and durations are of the time since the point before; a duration is None where there was none.
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


class _Last(NamedTuple):
    """What the next point's rates are counted from."""

    time_s: float
    accepted: int
    completed: int


class History:
    """The last `MAX_POINTS` points. `clock` returns microseconds since 1970, UTC; `monotonic` seconds."""

    def __init__(self, *, instruments: Instruments, clock: Callable[[], int], monotonic: Callable[[], float]) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._ack_s = RecentQuantiles(instruments.ack_s)
        self._processing_s = RecentQuantiles(instruments.processing_s)
        self._last: _Last | None = None
        self._points: deque[Point] = deque(maxlen=MAX_POINTS)

    def add(self, totals: Totals) -> Point | None:
        """The point that the totals make now; None for the first ones, from which the first point's rates count."""
        now_s = self._monotonic()
        if self._last and self._last.time_s >= now_s:
            return None
        last, self._last = self._last, _Last(now_s, totals.orders, totals.completed)
        ack_p50_s, ack_p99_s = map(_rounded, self._ack_s.quantiles(*PARTS))
        processing_p50_s, processing_p99_s = map(_rounded, self._processing_s.quantiles(*PARTS))
        if last is None:
            return None
        span_s = now_s - last.time_s
        point = Point(
            time=round(self._clock() / _MICROSECONDS, 3),
            accepted_per_second=round((totals.orders - last.accepted) / span_s, 3),
            completed_per_second=round((totals.completed - last.completed) / span_s, 3),
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
        """All points as one JSON object, a column a field of theirs, oldest first."""
        columns = {name: [getattr(point, name) for point in self._points] for name in Point.__struct_fields__}
        return encode({"interval_seconds": INTERVAL_S, **columns})


def _rounded(value: float | None) -> float | None:
    """With three digits that count: it is no more exact than that."""
    return None if value is None else float(f"{value:.3g}")
