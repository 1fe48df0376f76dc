"""The history: one point a second, with clocks that the test sets."""

import json
from typing import Any

import msgspec
import pytest

from handlers.metrics.history import MAX_POINTS, History, Point
from handlers.metrics.instruments import Instruments
from models.order import Totals
from tests.models.samples import SECOND_US, Clock

NOTHING = Totals(0, 0, 0, 0, 0, 0, None)


class HistoryUnderTest:
    """A history and its two clocks."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.monotonic_s = 100.0
        self.instruments = Instruments(clock=clock)
        self.history = History(instruments=self.instruments, clock=clock, monotonic=lambda: self.monotonic_s)

    def add(self, totals: Totals, *, after_s: float = 1.0) -> Point | None:
        self.clock.now_us += int(after_s * SECOND_US)
        self.monotonic_s += after_s
        return self.history.add(totals)

    def rendered(self) -> dict[str, Any]:
        columns: dict[str, Any] = json.loads(self.history.render())
        return columns


@pytest.fixture
def recorded(clock: Clock) -> HistoryUnderTest:
    return HistoryUnderTest(clock)


def totals(*, pending: int = 0, processing: int = 0, completed: int = 0) -> Totals:
    return Totals(pending, processing, completed, 0, 0, 0, None)


def test_the_first_call_makes_no_point(recorded: HistoryUnderTest) -> None:
    assert recorded.add(totals(completed=1_000)) is None
    columns = recorded.rendered()
    assert columns.pop("interval_seconds") == 1
    assert list(columns) == list(Point.__struct_fields__)
    assert all(column == [] for column in columns.values())


def test_rates_cover_the_time_since_the_previous_point(recorded: HistoryUnderTest) -> None:
    recorded.add(totals(completed=1_000))
    first = recorded.add(totals(pending=5, processing=2, completed=1_003))
    second = recorded.add(totals(processing=1, completed=1_019), after_s=2)
    third = recorded.add(totals(completed=1_020), after_s=0.999)
    assert first is not None
    assert second is not None
    assert third is not None
    assert (first.accepted_per_second, first.completed_per_second) == (10, 3)
    assert (first.pending, first.processing) == (5, 2)
    # The rates cover 2 s, because one second was left out.
    assert (second.accepted_per_second, second.completed_per_second) == (5, 8)
    assert (third.accepted_per_second, third.completed_per_second) == (0, 1.001)


def test_a_points_time_is_in_seconds_with_three_decimals(recorded: HistoryUnderTest) -> None:
    recorded.clock.now_us = 1_740_830_400_123_456
    recorded.add(NOTHING)
    point = recorded.add(NOTHING)
    assert point is not None
    assert point.time == 1_740_830_402.123


def test_durations_cover_the_time_since_the_previous_point(recorded: HistoryUnderTest) -> None:
    recorded.instruments.ack_s.observe(7.0, 1_000)
    recorded.add(NOTHING)
    recorded.instruments.ack_s.observe(0.01, 98)
    recorded.instruments.ack_s.observe(0.5, 2)
    recorded.instruments.processing_s.observe(0.25)
    noted, silent = recorded.add(NOTHING), recorded.add(NOTHING)
    assert noted is not None
    assert noted.ack_p50_seconds == pytest.approx(0.01, rel=0.125)
    assert noted.ack_p99_seconds == pytest.approx(0.5, rel=0.125)
    assert (noted.processing_p50_seconds, noted.processing_p99_seconds) == (0.25, 0.25)
    assert silent is not None
    assert {value for name, value in msgspec.structs.asdict(silent).items() if name.endswith("_seconds")} == {None}


def test_no_point_is_made_while_the_clock_stands_still(recorded: HistoryUnderTest) -> None:
    recorded.add(NOTHING)
    assert recorded.add(totals(completed=1), after_s=0) is None
    point = recorded.add(totals(completed=3))
    assert point is not None
    assert point.completed_per_second == 3


def test_a_wall_clock_set_back_does_not_change_rates(recorded: HistoryUnderTest) -> None:
    recorded.add(NOTHING)
    recorded.clock.now_us -= 3_600 * SECOND_US
    point = recorded.add(totals(completed=4))
    assert point is not None
    assert point.completed_per_second == 4


def test_the_newest_points_are_kept_oldest_first(recorded: HistoryUnderTest) -> None:
    points = [recorded.add(totals(pending=number, completed=number)) for number in range(MAX_POINTS + 50)]
    columns = recorded.rendered()
    assert columns.pop("interval_seconds") == 1
    assert {len(column) for column in columns.values()} == {MAX_POINTS} == {600}
    assert columns["pending"] == list(range(50, MAX_POINTS + 50))
    assert columns["time"] == sorted(columns["time"])
    for place in (0, 300, -1):
        point = points[50:][place]
        assert point is not None
        assert {name: column[place] for name, column in columns.items()} == msgspec.structs.asdict(point)
