"""The metrics of the last ten minutes, hour and day, for the dashboard's charts. Runs on the event loop."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from types import MappingProxyType
from typing import NamedTuple

from handlers.metrics.histogram import RecentCounts
from handlers.metrics.instruments import Instruments
from handlers.metrics.point import Point
from handlers.metrics.rates import Sample, sample_of
from handlers.metrics.series import IntervalSeries, Series
from handlers.transport.json_encoder import encode
from models.clock import Clock
from models.measurements import Measurement, Measures
from models.order import Totals

SECOND = 1
"""The length of the shortest intervals, in seconds. The points of seconds are not saved."""
SHORTEST_SAVED_S = 10
LENGTHS_S: Mapping[int, int] = MappingProxyType({SECOND: 600, SHORTEST_SAVED_S: 3_600, 120: 86_400})
"""For each length of intervals, the time that their points cover. Both in seconds."""
RANGES_S: Mapping[str, int] = MappingProxyType({"10m": 600, "1h": 3_600, "1d": 86_400})
"""The ranges that a client can choose, in seconds."""
MAX_POINTS = max(length_s // interval_s for interval_s, length_s in LENGTHS_S.items())
"""The maximum number of points in a range."""
QUANTILES = (0.5, 0.99)
"""The quantiles of durations in each point."""
_MICROSECONDS = 1_000_000


class RenderedHistory(NamedTuple):
    """Points as JSON, and the length of the intervals of further points, in seconds."""

    interval_s: int
    json: bytes


class History:
    """Points of one second for ten minutes, of ten seconds for an hour, and of two minutes for a day.

    `process` distinguishes this process from all others that save measurements in the same database. `monotonic`
    returns seconds.
    """

    def __init__(
        self, *, instruments: Instruments, clock: Clock, monotonic: Callable[[], float], process: str = ""
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._process = process
        self._ack_s = RecentCounts(instruments.ack_s)
        self._processing_s = RecentCounts(instruments.processing_s)
        self._last: Sample | None = None
        self._seconds = Series(LENGTHS_S[SECOND])
        self._intervals = {
            interval_s: IntervalSeries(interval_s, length_s=length_s, process=process, make_point=self._point_of)
            for interval_s, length_s in LENGTHS_S.items()
            if interval_s > SECOND
        }
        self._shared_until_s = -inf
        """When the newest saved interval of another process began."""
        self._series = {SECOND: self._seconds} | {each: one.series for each, one in self._intervals.items()}

    def add(self, totals: Totals) -> Point | None:
        """Adds a point for the current totals, and returns it.

        Returns None on the first call, because a rate needs two samples. Also returns None if the clock has not
        advanced.
        """
        now_s = self._monotonic()
        if self._last and self._last.time_s >= now_s:
            return None
        last, self._last = self._last, sample_of(totals, now_s)
        ack, processing = self._ack_s.take(), self._processing_s.take()
        if last is None:
            return None
        measures = Measures(
            now_s - last.time_s,
            totals.orders - last.accepted,
            totals.completed - last.completed,
            totals.pending,
            totals.processing,
            ack,
            processing,
        )
        point = self._point_of(self._now_s(), SECOND, measures)
        self._seconds.drop_after(point.time)
        self._seconds.put(point)
        for series in self._intervals.values():
            series.add(point.time, measures)
        return point

    def take_changes(self) -> dict[int, list[Point]]:
        """The points that were added or replaced since the last call, by the length of their intervals in seconds."""
        return {interval_s: series.take_changes() for interval_s, series in self._series.items()}

    def unsaved(self) -> list[Measurement]:
        """What this process has measured and not saved yet."""
        return [each for series in self._intervals.values() for each in series.unsaved()]

    def note_saved(self, saved: Iterable[Measurement]) -> None:
        """Records that these results of `unsaved` have been saved."""
        for interval_s, measurements in _by_interval(saved).items():
            self._intervals[interval_s].note_saved(measurements)

    def merge(self, stored: Iterable[Measurement]) -> None:
        """Adds what earlier processes and other servers have saved."""
        now_s = self._now_s()
        for interval_s, measurements in _by_interval(stored).items():
            if interval_s in self._intervals:
                self._intervals[interval_s].merge(measurements, now_s=now_s)
            if interval_s == SHORTEST_SAVED_S:
                begins_s = [each.begin_s for each in measurements if each.process != self._process]
                self._shared_until_s = max([self._shared_until_s, *begins_s])

    def render(self, range_s: int) -> RenderedHistory:
        """The points of the last `range_s` seconds, as one JSON object with a list for each field, oldest first.

        The points have the shortest intervals that cover the range, or all of the history if it is shorter.
        """
        interval_s = self._interval_for(range_s)
        points = self._points(interval_s)
        if points:
            first_s = points[-1].time - range_s
            points = [point for point in points if point.time > first_s]
        columns = {name: [getattr(point, name) for point in points] for name in Point.__struct_fields__}
        head = {"interval_seconds": interval_s, "covered_seconds": LENGTHS_S[interval_s]}
        return RenderedHistory(interval_s, encode({**head, **columns}))

    def _points(self, interval_s: int) -> Sequence[Point]:
        """All points with intervals of this length. Points of seconds follow on saved points from before the start."""
        points = self._series[interval_s].points
        if interval_s != SECOND:
            return points
        begin_s = points[0].time if points else inf
        saved = self._series[SHORTEST_SAVED_S].points
        return [*(each for each in saved if each.time < begin_s and each.time <= self._shared_until_s), *points]

    def _interval_for(self, range_s: int) -> int:
        times = [series.points[index].time for series in self._series.values() if series.points for index in (0, -1)]
        needed_s = min(range_s, max(times) - min(times)) if times else 0
        return next(interval_s for interval_s, length_s in LENGTHS_S.items() if length_s >= needed_s)

    def _now_s(self) -> float:
        return round(self._clock.wall_time() / _MICROSECONDS, 3)

    def _point_of(self, time_s: float, interval_s: int, measures: Measures) -> Point:
        ack_p50_s, ack_p99_s = (_rounded(self._ack_s.quantile(measures.ack, each)) for each in QUANTILES)
        processing_p50_s, processing_p99_s = (
            _rounded(self._processing_s.quantile(measures.attempts, each)) for each in QUANTILES
        )
        return Point(
            time=time_s,
            accepted_per_second=round(measures.accepted / measures.seconds, 3),
            completed_per_second=round(measures.completed / measures.seconds, 3),
            pending=measures.pending,
            processing=measures.processing,
            ack_p50_seconds=ack_p50_s,
            ack_p99_seconds=ack_p99_s,
            processing_p50_seconds=processing_p50_s,
            processing_p99_seconds=processing_p99_s,
            seconds=interval_s,
        )


def _by_interval(measurements: Iterable[Measurement]) -> dict[int, list[Measurement]]:
    found: dict[int, list[Measurement]] = {}
    for each in measurements:
        found.setdefault(each.interval_s, []).append(each)
    return found


def _rounded(value: float | None) -> float | None:
    """Rounds to three significant digits."""
    return None if value is None else float(f"{value:.3g}")
