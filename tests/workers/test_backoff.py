"""Exponential backoff with jitter."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from workers.backoff import Backoff


def delays(backoff: Backoff, count: int) -> list[float]:
    return [backoff.delay_s(failures) for failures in range(1, count + 1)]


def test_delays_double_up_to_the_maximum() -> None:
    backoff = Backoff(first_s=0.1, max_s=1.0, jitter=lambda: 0.5)
    assert delays(backoff, 6) == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_a_delay_depends_only_on_the_number_of_failures() -> None:
    backoff = Backoff(first_s=1.0, max_s=60.0, jitter=lambda: 0.5)
    assert [backoff.delay_s(failures) for failures in (3, 1, 3, 1)] == pytest.approx([4.0, 1.0, 4.0, 1.0])


@cases(("jitter", "factor"), [(0.0, 0.8), (0.25, 0.9), (0.5, 1.0), (1.0, 1.2)])
def test_each_delay_has_a_jitter_of_20_percent(jitter: float, factor: float) -> None:
    backoff = Backoff(first_s=1.0, max_s=100.0, jitter=lambda: jitter)
    assert delays(backoff, 4) == pytest.approx([factor, 2 * factor, 4 * factor, 8 * factor])


@cases(("jitter", "max_s"), [(0.0, 3.2), (0.25, 3.6), (0.5, 4.0), (1.0, 4.0)])
def test_jitter_does_not_exceed_the_maximum_delay(jitter: float, max_s: float) -> None:
    backoff = Backoff(first_s=1.0, max_s=4.0, jitter=lambda: jitter)
    assert delays(backoff, 5)[2:] == pytest.approx([max_s] * 3)


def test_each_delay_has_its_own_jitter() -> None:
    values = iter([0.0, 0.5, 1.0])
    backoff = Backoff(first_s=1.0, max_s=60.0, jitter=lambda: next(values))
    assert [backoff.delay_s(1) for _ in range(3)] == pytest.approx([0.8, 1.0, 1.2])


def test_two_backoffs_do_not_have_the_same_delays() -> None:
    one, other = (Backoff(first_s=1.0, max_s=60.0, jitter=random.Random(seed).random) for seed in (1, 2))
    assert delays(one, 5) != delays(other, 5)


@given(failures=st.integers(1, 10**9), jitter=st.floats(0, 1))
def test_a_delay_is_within_its_bounds_after_any_number_of_failures(failures: int, jitter: float) -> None:
    delay_s = Backoff(first_s=1.0, max_s=3_600.0, jitter=lambda: jitter).delay_s(failures)
    nominal_s = min(2 ** min(failures - 1, 20), 3_600)
    assert 0.8 * nominal_s * 0.999 <= delay_s <= min(1.2 * nominal_s * 1.001, 3_600)
