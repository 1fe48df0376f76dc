"""Series of points, one for each length of the intervals that the points describe. Runs on the event loop."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from handlers.metrics.point import Point
from models.measurements import MAX_INTERVALS, Measurement, Measures, combine

RECENT_S = 300
"""How long measurements of other servers can still be added to an interval. Each server saves its own once a minute."""

MakePoint = Callable[[float, int, Measures], Point]
"""Makes a point from its time, the length of its interval in seconds, and the measures."""


class Series:
    """Points with ascending times, of at most `length_s` seconds before the newest point."""

    def __init__(self, length_s: int) -> None:
        self._length_s = length_s
        self._times: list[float] = []
        self._points: list[Point] = []
        self._changed: dict[float, Point] = {}

    @property
    def points(self) -> Sequence[Point]:
        """All points, oldest first."""
        return self._points

    def put(self, point: Point) -> None:
        """Adds the point, in place of an earlier point with the same time."""
        place = bisect_left(self._times, point.time)
        if self._times[place : place + 1] == [point.time]:
            if self._points[place] == point:
                return
            self._points[place] = point
        else:
            self._times.insert(place, point.time)
            self._points.insert(place, point)
        self._changed[point.time] = point
        self._forget_before(self._times[-1] - self._length_s)

    def drop_after(self, time: float) -> None:
        """Removes later points: they were measured before somebody set the wall clock back."""
        while self._times and self._times[-1] > time:
            self._times.pop()
            self._points.pop()

    def take_changes(self) -> list[Point]:
        """The points that were put since the last call, oldest first."""
        changes, self._changed = self._changed, {}
        return [changes[time] for time in sorted(changes)]

    def _forget_before(self, time: float) -> None:
        # The newest point describes the time after `time`, so the oldest point is exactly `length_s` before its end.
        expired = bisect_left(self._times, time) if self._times[0] < time else 0
        del self._times[:expired], self._points[:expired]


class IntervalSeries:
    """A point for each interval of `interval_s` seconds: the measures of this process and of all other servers.

    `time` of a point is the begin of its interval. The point of the current interval is replaced each second.
    """

    def __init__(self, interval_s: int, *, length_s: int, process: str, make_point: MakePoint) -> None:
        self.series = Series(length_s)
        self._interval_s = interval_s
        self._process = process
        self._make_point = make_point
        self._own: dict[int, Measures] = {}
        self._others: defaultdict[int, dict[str, Measures]] = defaultdict(dict)
        self._unsaved: set[int] = set()

    def add(self, time_s: float, measures: Measures) -> None:
        """Adds what this process has measured in the second before `time_s`."""
        begin_s = int((time_s - measures.seconds / 2) // self._interval_s) * self._interval_s
        self._own[begin_s] = combine([self._own[begin_s], measures]) if begin_s in self._own else measures
        self._unsaved.add(begin_s)
        # The clock of another server can be slightly ahead.
        self.series.drop_after(begin_s + self._interval_s)
        self._put(begin_s)
        self._forget(time_s)

    def unsaved(self) -> list[Measurement]:
        """What this process has measured and not saved yet."""
        return [
            Measurement(self._interval_s, begin_s, self._process, self._own[begin_s])
            for begin_s in sorted(self._unsaved)
        ]

    def note_saved(self, saved: Iterable[Measurement]) -> None:
        """Records that these results of `unsaved` have been saved."""
        self._unsaved.difference_update(each.begin_s for each in saved if self._own.get(each.begin_s) is each.measures)

    def merge(self, stored: Iterable[Measurement], *, now_s: float) -> None:
        """Adds what other processes have saved. Ignores intervals in the future."""
        changed = set()
        for each in stored:
            is_known = each.process == self._process and each.begin_s in self._own
            if each.begin_s <= now_s and not is_known:
                self._others[each.begin_s][each.process] = each.measures
                changed.add(each.begin_s)
        for begin_s in sorted(changed):
            self._put(begin_s)
        self._forget(now_s)

    def _put(self, begin_s: int) -> None:
        parts = [*self._others.get(begin_s, {}).values()]
        if begin_s in self._own:
            parts.append(self._own[begin_s])
        self.series.put(self._make_point(begin_s, self._interval_s, combine(parts)))

    def _forget(self, now_s: float) -> None:
        """Forgets measures that are saved and can't change any more, or that are too many to be kept."""
        first_s = now_s - RECENT_S
        for begin_s in [each for each in self._own if each < first_s and each not in self._unsaved]:
            del self._own[begin_s]
        while len(self._own) > MAX_INTERVALS:
            oldest_s = min(self._own)
            del self._own[oldest_s]
            self._unsaved.discard(oldest_s)
        for begin_s in [each for each in self._others if each < first_s]:
            del self._others[begin_s]
