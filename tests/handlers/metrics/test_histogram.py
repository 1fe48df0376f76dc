"""Histograms: buckets, and estimated quantiles compared with exact quantiles."""

import random
import threading
from collections.abc import Sequence
from math import ceil, inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.metrics.histogram import LOWEST_FRACTION, MAX_RELATIVE_ERROR, Histogram, RecentCounts
from tests.cases import cases

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
LOWEST = BOUNDS[0] * LOWEST_FRACTION
PARTS = (0.0, 0.01, 0.5, 0.9, 0.99, 1.0)


def exact(values: Sequence[float], part: float) -> float:
    """The quantile by nearest rank."""
    return sorted(values)[max(ceil(part * len(values)), 1) - 1]


def assert_close(values: Sequence[float]) -> None:
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.observe(value)
    for part in PARTS:
        found, true = histogram.quantile(histogram.counts(), part), exact(values, part)
        assert found is not None
        if true > BOUNDS[-1]:
            assert found == BOUNDS[-1]
        elif true <= LOWEST:
            assert 0 < found <= LOWEST
        else:
            assert abs(found - true) <= true * MAX_RELATIVE_ERROR


@cases(
    ("values", "buckets"),
    [
        ([], [0, 0, 0]),
        ([0, 0.5, 1], [3, 3, 3]),
        ([1.0001, 2], [0, 2, 2]),
        ([2.0001, inf], [0, 0, 2]),
        ([0.1, 1.5, 7], [1, 2, 3]),
    ],
)
def test_a_bucket_counts_values_up_to_its_bound(values: Sequence[float], buckets: list[int]) -> None:
    histogram = Histogram((1, 2))
    for value in values:
        histogram.observe(value)
    assert histogram.buckets() == list(zip((1, 2, inf), buckets, strict=True))
    assert histogram.sum == sum(values)


def test_a_value_can_be_observed_several_times_in_one_call() -> None:
    histogram = Histogram((1, 2))
    histogram.observe(1.5, 3)
    assert (histogram.buckets(), histogram.sum) == ([(1, 0), (2, 3), (inf, 3)], 4.5)


@given(st.floats(0, 20), st.sampled_from([0, 1, 2]))
def test_the_internal_steps_do_not_change_the_buckets(value: float, near: int) -> None:
    # Also at the bounds, and at the values next to them.
    for each in (value, BOUNDS[int(value) % len(BOUNDS)] * (1 + (near - 1) * 1e-15)):
        histogram = Histogram(BOUNDS)
        histogram.observe(each)
        assert histogram.buckets() == [(bound, int(each <= bound)) for bound in (*BOUNDS, inf)]


@given(st.lists(st.one_of(st.floats(0, 20), st.floats(LOWEST, 0.01), st.sampled_from(BOUNDS)), min_size=1))
def test_a_quantile_is_within_the_documented_error(values: list[float]) -> None:
    assert_close(values)


@cases("seed", range(3))
def test_a_quantile_of_many_durations_is_within_the_documented_error(seed: int) -> None:
    source = random.Random(seed)
    assert_close([source.lognormvariate(-5, 1.5) for _ in range(2_000)])


def test_a_quantile_of_uniform_values_is_within_one_percent() -> None:
    histogram = Histogram(BOUNDS)
    for number in range(1, 10_001):
        histogram.observe(number / 10_000)
    for part in (0.1, 0.25, 0.5, 0.9, 0.99):
        assert histogram.quantile(histogram.counts(), part) == pytest.approx(part, rel=0.01)


def test_without_values_there_is_no_quantile() -> None:
    histogram = Histogram(BOUNDS)
    assert histogram.quantile(histogram.counts(), 0.5) is None


def test_recent_counts_cover_values_since_the_last_call() -> None:
    histogram = Histogram(BOUNDS)
    histogram.observe(5, 1_000)
    recent = RecentCounts(histogram)
    assert recent.take() == {}
    assert recent.quantile({}, 0.5) is None
    histogram.observe(0.01, 99)
    histogram.observe(1, 1)
    counts = recent.take()
    assert sorted(counts.values()) == [1, 99]
    assert [recent.quantile(counts, each) for each in (0.99, 1)] == [0.01, 1]
    assert recent.take() == {}
    histogram.observe(0.1)
    assert recent.quantile(recent.take(), 1) == 0.1


def test_steps_that_the_histogram_does_not_have_are_ignored() -> None:
    """Another version of the program, with other bounds, can have saved them."""
    histogram = Histogram(BOUNDS)
    recent = RecentCounts(histogram)
    histogram.observe(0.01)
    unknown = {len(histogram.counts()): 1_000, -1: 1_000}
    assert recent.quantile(recent.take() | unknown, 1) == 0.01
    assert recent.quantile(unknown, 1) is None


def test_concurrent_observations_are_counted_exactly_once() -> None:
    histogram = Histogram(BOUNDS)
    recent = RecentCounts(histogram)
    taken = 0
    before = histogram.counts()
    source = random.Random(1)
    values = [source.uniform(0, 12) for _ in range(50_000)]

    def write() -> None:
        for value in values:
            histogram.observe(value)

    writer = threading.Thread(target=write)
    writer.start()
    seen = 0
    while writer.is_alive():
        counts = histogram.counts()
        assert all(now >= then for now, then in zip(counts, before, strict=True))
        seen += sum(counts) - sum(before)
        before = counts
        taken += sum(recent.take().values())
        below = [count for _, count in histogram.buckets()]
        assert below == sorted(below)
    assert seen + sum(histogram.counts()) - sum(before) == len(values)
    assert sum(histogram.counts()) == taken + sum(recent.take().values()) == len(values)
