"""Delays that double, up to a limit, with jitter."""

import random

import pytest

from workers.backoff import Backoff


def delays(backoff: Backoff, count: int) -> list[float]:
    return [backoff.next_s() for _ in range(count)]


def test_delays_double_up_to_the_longest() -> None:
    backoff = Backoff(first_s=0.1, longest_s=1.0, jitter=lambda: 0.5)
    assert delays(backoff, 6) == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_reset_begins_anew() -> None:
    backoff = Backoff(first_s=1.0, longest_s=60.0, jitter=lambda: 0.5)
    assert delays(backoff, 3) == pytest.approx([1.0, 2.0, 4.0])
    backoff.reset()
    assert delays(backoff, 2) == pytest.approx([1.0, 2.0])


@pytest.mark.parametrize(("jitter", "factor"), [(0.0, 0.8), (0.25, 0.9), (0.5, 1.0), (1.0, 1.2)])
def test_each_delay_is_jittered_by_up_to_a_fifth(jitter: float, factor: float) -> None:
    backoff = Backoff(first_s=1.0, longest_s=4.0, jitter=lambda: jitter)
    assert delays(backoff, 4) == pytest.approx([factor, 2 * factor, 4 * factor, 4 * factor])


def test_two_that_begin_together_do_not_stay_together() -> None:
    one, other = (Backoff(first_s=1.0, longest_s=60.0, jitter=random.Random(seed).random) for seed in (1, 2))
    assert delays(one, 5) != delays(other, 5)
