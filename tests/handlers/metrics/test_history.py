"""How it went: a point a second, with a clock that only the test moves."""

import json
from typing import Any

import msgspec
import pytest

from handlers.metrics.history import MAX_POINTS, History, Point
from handlers.metrics.instruments import Instruments
from models.order import Totals
from tests.models.samples import SECOND_US, Clock

NOTHING = Totals(0, 0, 0, 0, 0, 0, None)


class Past:
    """A history, and the two clocks by which it goes."""

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
def past(clock: Clock) -> Past:
    return Past(clock)


def totals(*, pending: int = 0, processing: int = 0, completed: int = 0) -> Totals:
    return Totals(pending, processing, completed, 0, 0, 0, None)


def test_before_the_second_look_there_is_no_point(past: Past) -> None:
    assert past.add(totals(completed=1_000)) is None
    columns = past.rendered()
    assert columns.pop("interval_seconds") == 1
    assert list(columns) == list(Point.__struct_fields__)
    assert all(column == [] for column in columns.values())


def test_rates_are_those_since_the_point_before(past: Past) -> None:
    past.add(totals(completed=1_000))
    first = past.add(totals(pending=5, processing=2, completed=1_003))
    second = past.add(totals(processing=1, completed=1_019), after_s=2)
    third = past.add(totals(completed=1_020), after_s=0.999)
    assert first is not None
    assert second is not None
    assert third is not None
    assert (first.accepted_per_second, first.completed_per_second) == (10, 3)
    assert (first.pending, first.processing) == (5, 2)
    # The one between could not be had.
    assert (second.accepted_per_second, second.completed_per_second) == (5, 8)
    assert (third.accepted_per_second, third.completed_per_second) == (0, 1.001)


def test_a_points_time_is_in_seconds_with_three_decimals(past: Past) -> None:
    past.clock.now_us = 1_740_830_400_123_456
    past.add(NOTHING)
    point = past.add(NOTHING)
    assert point is not None
    assert point.time == 1_740_830_402.123


def test_durations_are_those_that_were_noted_since_the_point_before(past: Past) -> None:
    past.instruments.ack_s.observe(7.0, 1_000)
    past.add(NOTHING)
    past.instruments.ack_s.observe(0.01, 98)
    past.instruments.ack_s.observe(0.5, 2)
    past.instruments.processing_s.observe(0.25)
    noted, silent = past.add(NOTHING), past.add(NOTHING)
    assert noted is not None
    assert noted.ack_p50_seconds == pytest.approx(0.01, rel=0.125)
    assert noted.ack_p99_seconds == pytest.approx(0.5, rel=0.125)
    assert (noted.processing_p50_seconds, noted.processing_p99_seconds) == (0.25, 0.25)
    assert silent is not None
    assert {value for name, value in msgspec.structs.asdict(silent).items() if name.endswith("_seconds")} == {None}


def test_a_clock_that_stands_makes_no_point(past: Past) -> None:
    past.add(NOTHING)
    assert past.add(totals(completed=1), after_s=0) is None
    point = past.add(totals(completed=3))
    assert point is not None
    assert point.completed_per_second == 3


def test_a_wall_clock_that_is_set_back_harms_no_rate(past: Past) -> None:
    past.add(NOTHING)
    past.clock.now_us -= 3_600 * SECOND_US
    point = past.add(totals(completed=4))
    assert point is not None
    assert point.completed_per_second == 4


def test_the_last_points_are_kept_and_the_oldest_come_first(past: Past) -> None:
    points = [past.add(totals(pending=number, completed=number)) for number in range(MAX_POINTS + 50)]
    columns = past.rendered()
    assert columns.pop("interval_seconds") == 1
    assert {len(column) for column in columns.values()} == {MAX_POINTS} == {600}
    assert columns["pending"] == list(range(50, MAX_POINTS + 50))
    assert columns["time"] == sorted(columns["time"])
    for place in (0, 300, -1):
        point = points[50:][place]
        assert point is not None
        assert {name: column[place] for name, column in columns.items()} == msgspec.structs.asdict(point)
