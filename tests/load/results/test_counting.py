"""Tests percentiles, timelines and time series."""

from fractions import Fraction
from math import ceil

from load.results.counting import (
    MOST_POINTS,
    Distribution,
    interval_for,
    percentile_of,
    thinned,
    timeline_of,
)
from tests.cases import cases
from tests.load.results.recordings import S, recording_of


@cases("percentile", ["50", "90", "99", "99.9", "99.99"])
def test_the_rank_is_exact_for_any_number_of_values(percentile: str) -> None:
    for count in (*range(1, 2_000), *range(10_000, 200_000, 1_000)):
        rank = ceil(Fraction(percentile) * count / 100)
        assert percentile_of(range(1, count + 1), float(percentile)) == rank


@cases(
    ("length_s", "interval_s"), [(0, 0.001), (0.2, 0.001), (0.3, 0.002), (1, 0.005), (10, 0.05), (60, 0.5), (3600, 20)]
)
def test_the_interval_is_a_round_number_with_200_intervals_at_most(length_s: float, interval_s: float) -> None:
    assert interval_for(int(length_s * S)) == interval_s * S


def test_the_timeline_counts_every_order_once() -> None:
    timeline = timeline_of(recording_of((0, 1), (1, 2), (5, 9), (5, 3), orders=2))
    assert timeline == {
        "interval_s": 0.001,
        "start_s": [0.0, 0.001, 0.002, 0.003, 0.004, 0.005],
        "orders_per_second": [2000.0, 2000.0, 0.0, 0.0, 0.0, 4000.0],
        "latency_p50_ms": [1.0, 2.0, None, None, None, 3.0],
        "latency_p99_ms": [1.0, 2.0, None, None, None, 9.0],
    }


def test_a_long_time_series_is_thinned_and_keeps_its_ends() -> None:
    points = thinned([(float(second), second) for second in range(20 * MOST_POINTS)])
    assert MOST_POINTS / 4 < len(points) <= MOST_POINTS + 1
    assert points[0] == (0.0, 0)
    assert points[-1][1] == 20 * MOST_POINTS - 1
    assert points == sorted(points)


@cases(("count", "last"), [(1, 0.0), (10, 90.0), (100, 99.0), (1000, 99.9), (10_000, 99.99)])
def test_the_curve_ends_where_there_are_too_few_answers(count: int, last: float) -> None:
    curve = Distribution(range(1, count + 1)).curve()
    assert curve["percentile"][-2:] == [last, 100.0]
    assert curve["latency_ms"][-1] == count / 1e6
    assert curve["latency_ms"] == sorted(curve["latency_ms"])


@cases(("percentile", "value"), [(0, 1), (50, 50), (99, 99), (99.1, 100), (100, 100)])
def test_a_percentile_is_the_nearest_rank(percentile: float, value: int) -> None:
    assert percentile_of(range(1, 101), percentile) == value
