"""The history: points of a second, ten seconds and two minutes, with clocks that the test sets."""

import json
from typing import Any

import msgspec
import pytest

from handlers.metrics.history import MAX_POINTS, RANGES_S, History
from handlers.metrics.instruments import Instruments
from handlers.metrics.point import Point
from models.measurements import MAX_INTERVALS, Measurement
from models.order import Totals
from tests.models.samples import SECOND_US, Clock

NOTHING = Totals(0, 0, 0, 0, 0, 0, None)
NOW_S = 1_740_830_400
MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400


class HistoryUnderTest:
    """A history and its two clocks."""

    def __init__(self, clock: Clock, *, process: str = "a") -> None:
        self.clock = clock
        self.monotonic_s = 100.0
        self.instruments = Instruments(clock=clock)
        self.history = History(
            instruments=self.instruments, clock=clock, monotonic=lambda: self.monotonic_s, process=process
        )

    def add(self, totals: Totals = NOTHING, *, after_s: float = 1.0) -> Point | None:
        self.clock.now_us += int(after_s * SECOND_US)
        self.monotonic_s += after_s
        return self.history.add(totals)

    def run(self, seconds: int, *, per_second: int = 0) -> None:
        """Adds a point each second. Each second, this number of orders is completed."""
        for second in range(seconds + 1):
            self.add(totals(completed=per_second * second))

    def rendered(self, chosen: str = "10m") -> dict[str, Any]:
        rendered = self.history.render(RANGES_S[chosen])
        columns: dict[str, Any] = json.loads(rendered.json)
        assert columns["interval_seconds"] == rendered.interval_s
        return columns

    def save(self) -> list[Measurement]:
        saved = self.history.unsaved()
        self.history.note_saved(saved)
        return saved


@pytest.fixture
def recorded(clock: Clock) -> HistoryUnderTest:
    return HistoryUnderTest(clock)


def totals(*, pending: int = 0, processing: int = 0, completed: int = 0) -> Totals:
    return Totals(pending, processing, completed, 0, 0, 0, None)


@pytest.mark.parametrize("chosen", RANGES_S)
def test_the_first_call_makes_no_point(recorded: HistoryUnderTest, chosen: str) -> None:
    assert recorded.add(totals(completed=1_000)) is None
    columns = recorded.rendered(chosen)
    assert (columns.pop("interval_seconds"), columns.pop("covered_seconds")) == (1, 600)
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
    points = [recorded.add(totals(pending=number, completed=number)) for number in range(650)]
    columns = recorded.rendered()
    assert (columns.pop("interval_seconds"), columns.pop("covered_seconds")) == (1, 600)
    assert {len(column) for column in columns.values()} == {600}
    assert columns["pending"] == list(range(50, 650))
    assert columns["time"] == sorted(columns["time"])
    for place in (0, 300, -1):
        point = points[50:][place]
        assert point is not None
        assert {name: column[place] for name, column in columns.items()} == msgspec.structs.asdict(point)


@pytest.mark.parametrize("chosen", RANGES_S)
def test_a_history_of_a_few_minutes_has_points_of_a_second_in_each_range(
    recorded: HistoryUnderTest, chosen: str
) -> None:
    recorded.run(5 * MINUTE_S, per_second=2)
    columns = recorded.rendered(chosen)
    assert (columns["interval_seconds"], columns["covered_seconds"]) == (1, 600)
    assert columns["completed_per_second"] == [2] * 5 * MINUTE_S


def test_longer_histories_have_points_of_longer_intervals(recorded: HistoryUnderTest) -> None:
    recorded.run(30 * MINUTE_S, per_second=2)
    for chosen in ("1h", "1d"):
        columns = recorded.rendered(chosen)
        assert (columns["interval_seconds"], columns["covered_seconds"]) == (10, HOUR_S)
        assert columns["time"] == list(range(NOW_S, NOW_S + 30 * MINUTE_S + 1, 10))
        assert set(columns["completed_per_second"]) == {2}
        assert set(columns["seconds"]) == {10}
    recorded.run(60 * MINUTE_S)
    assert recorded.rendered("10m")["interval_seconds"] == 1
    assert recorded.rendered("1h")["interval_seconds"] == 10
    assert len(recorded.rendered("1h")["time"]) == 360
    columns = recorded.rendered("1d")
    assert (columns["interval_seconds"], columns["covered_seconds"]) == (120, DAY_S)
    assert columns["time"] == list(range(NOW_S, NOW_S + 90 * MINUTE_S + 1, 120))


def test_an_interval_has_averages_peaks_and_quantiles_of_all_its_seconds(recorded: HistoryUnderTest) -> None:
    recorded.add(totals(completed=5))
    recorded.instruments.ack_s.observe(0.01, 98)
    recorded.add(totals(pending=7, processing=3, completed=5))
    recorded.instruments.ack_s.observe(0.5, 2)
    recorded.add(totals(processing=1, completed=35), after_s=8)
    recorded.run(20 * MINUTE_S)
    columns = recorded.rendered("1h")
    first = {name: column[0] for name, column in columns.items() if isinstance(column, list)}
    assert (first["time"], first["seconds"], first["pending"], first["processing"]) == (NOW_S, 10, 7, 3)
    assert (first["accepted_per_second"], first["completed_per_second"]) == (round(31 / 9, 3), round(30 / 9, 3))
    assert first["ack_p50_seconds"] == pytest.approx(0.01, rel=0.125)
    assert first["ack_p99_seconds"] == pytest.approx(0.5, rel=0.125)


def test_the_point_of_the_current_interval_is_replaced_each_second(recorded: HistoryUnderTest) -> None:
    recorded.add()
    recorded.history.take_changes()
    for second in range(1, 10):
        recorded.add(totals(pending=second))
        changes = recorded.history.take_changes()
        assert {interval_s: len(points) for interval_s, points in changes.items()} == {1: 1, 10: 1, 120: 1}
        assert [(point.time, point.pending) for point in changes[10]] == [(NOW_S, second)]
    assert recorded.history.take_changes() == {1: [], 10: [], 120: []}


def test_after_a_restart_the_saved_points_come_first(clock: Clock) -> None:
    before = HistoryUnderTest(clock, process="a")
    before.run(20 * MINUTE_S, per_second=3)
    stored = before.save()
    clock.now_us += 30 * SECOND_US
    after = HistoryUnderTest(clock, process="b")
    after.history.merge(stored)
    after.run(60, per_second=1)
    columns = after.rendered("1h")
    down = [*columns["time"]].index(NOW_S + 20 * MINUTE_S)
    assert set(columns["completed_per_second"][: down + 1]) == {3}
    assert set(columns["completed_per_second"][down + 1 :]) == {1}
    # No point describes the time in which no process was running.
    assert columns["time"][down + 1] - columns["time"][down] == 30
    columns = after.rendered("10m")
    assert columns["interval_seconds"] == 1
    assert columns["seconds"] == sorted(columns["seconds"], reverse=True)
    assert columns["time"] == sorted(columns["time"])
    assert columns["seconds"].count(1) == 60
    assert columns["time"][0] > columns["time"][-1] - 600 >= columns["time"][0] - 10


def test_servers_that_share_a_database_show_the_same_points(clock: Clock) -> None:
    servers = [HistoryUnderTest(clock, process=process) for process in "ab"]
    for second in range(20 * MINUTE_S + 1):
        clock.now_us += SECOND_US
        for place, server in enumerate(servers):
            server.monotonic_s += 1
            server.instruments.ack_s.observe(0.25 if place else 0.01)
            server.history.add(totals(pending=4, completed=second))
    alone = servers[0].rendered("1h")
    stored = [each for server in servers for each in server.save()]
    for server in servers:
        server.history.merge(stored)
    first, second_one = (server.rendered("1h") for server in servers)
    assert first == second_one
    # The totals count the orders of all servers, so their rates are not added up.
    assert first["completed_per_second"] == alone["completed_per_second"]
    assert first["pending"] == alone["pending"]
    assert max(alone["ack_p99_seconds"]) < 0.02
    assert min(first["ack_p99_seconds"]) > 0.2
    # A third server, which starts after these were killed, shows the same.
    late = HistoryUnderTest(clock, process="c")
    late.history.merge(stored)
    assert late.rendered("1h") == first


def test_saved_measurements_of_a_current_interval_are_changed_later(clock: Clock) -> None:
    recorded, other = (HistoryUnderTest(clock, process=process) for process in "ab")
    recorded.add()
    recorded.add()
    saved = recorded.save()
    assert [(each.interval_s, each.begin_s, each.process) for each in saved] == [(10, NOW_S, "a"), (120, NOW_S, "a")]
    assert recorded.save() == []
    recorded.add(totals(pending=1))
    assert [each.measures.pending for each in recorded.save()] == [1, 1]
    # A change after `unsaved` is saved by the next call.
    late = recorded.history.unsaved()
    recorded.add(totals(pending=2))
    late = late or recorded.history.unsaved()
    recorded.add(totals(pending=3))
    recorded.history.note_saved(late)
    assert [each.measures.pending for each in recorded.save()] == [3, 3]
    other.history.merge(saved)
    other.history.take_changes()
    other.history.merge(saved)
    assert other.history.take_changes() == {1: [], 10: [], 120: []}


def test_points_from_before_a_clock_was_set_back_are_removed(recorded: HistoryUnderTest) -> None:
    recorded.run(20 * MINUTE_S)
    recorded.clock.ahead_us -= 10 * MINUTE_S * SECOND_US
    recorded.run(2 * MINUTE_S)
    for chosen in RANGES_S:
        times = recorded.rendered(chosen)["time"]
        assert times == sorted(set(times))
        assert times[-1] <= NOW_S + 12 * MINUTE_S + 20


def test_measurements_of_the_future_are_ignored(clock: Clock) -> None:
    ahead = HistoryUnderTest(Clock(clock.now_us + DAY_S * SECOND_US), process="a")
    ahead.run(60)
    recorded = HistoryUnderTest(clock, process="b")
    recorded.history.merge(ahead.save())
    recorded.run(60)
    assert recorded.rendered("1d")["time"][-1] <= NOW_S + 62


def test_the_number_of_points_and_of_unsaved_measurements_is_bounded(recorded: HistoryUnderTest) -> None:
    """Nothing can be saved in this test."""
    for _ in range(DAY_S // MINUTE_S * 2):
        recorded.add(after_s=MINUTE_S)
    assert len(recorded.rendered("1d")["time"]) == MAX_POINTS == 720
    assert len(recorded.history.unsaved()) == 2 * MAX_INTERVALS
