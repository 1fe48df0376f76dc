"""Steady time, and the steps of the wall clock."""

import time

import pytest

import models.clock
from models.clock import MAX_READ_US, MIN_STEP_US
from tests.models.samples import SECOND_US, Clock

HOUR_US = 3_600 * SECOND_US


@pytest.mark.parametrize("ahead_us", [HOUR_US, -HOUR_US, MIN_STEP_US, -MIN_STEP_US])
def test_a_step_of_the_wall_clock_changes_only_the_wall_time(clock: Clock, ahead_us: int) -> None:
    before_us = clock()
    clock.ahead_us = ahead_us
    assert (clock(), clock.read_step(), clock.wall_time()) == (before_us, ahead_us, before_us + ahead_us)
    clock.now_us += SECOND_US
    assert (clock(), clock.wall_time()) == (before_us + SECOND_US, before_us + SECOND_US + ahead_us)


def test_a_small_difference_is_no_step_until_it_adds_up(clock: Clock) -> None:
    for ahead_us in (1, -MIN_STEP_US + 1, MIN_STEP_US - 1):
        clock.ahead_us = ahead_us
        assert clock.read_step() == 0
    clock.ahead_us = MIN_STEP_US
    assert clock.read_step() == MIN_STEP_US


def test_a_reading_that_was_interrupted_is_not_used() -> None:
    times = iter([0, 0, MAX_READ_US + 1, 2 * MAX_READ_US, 2 * MAX_READ_US])
    wall = iter([0, HOUR_US, HOUR_US])
    clock = models.clock.Clock(wall_us=lambda: next(wall), elapsed_us=lambda: next(times))
    assert clock.read_step() == 0
    assert clock.read_step() == HOUR_US - 2 * MAX_READ_US


def test_each_order_keeps_the_step_at_which_it_was_stored(clock: Clock) -> None:
    assert not clock.has_steps
    clock.record_step(HOUR_US, last_sequence=5)
    clock.record_step(-HOUR_US, last_sequence=8)
    assert clock.has_steps
    assert [clock.step_at(sequence) for sequence in (1, 5, 6, 8, 9)] == [0, 0, HOUR_US, HOUR_US, -HOUR_US]
    assert clock.accepted_us(6, clock() + HOUR_US) == clock()


def test_the_steps_are_listed_with_the_first_sequence_of_each(clock: Clock) -> None:
    assert clock.steps_by_sequence() == [(0, 0)]
    clock.record_step(HOUR_US, last_sequence=5)
    clock.record_step(-HOUR_US, last_sequence=8)
    steps = clock.steps_by_sequence()
    assert steps == [(0, 0), (6, HOUR_US), (9, -HOUR_US)]
    for sequence in range(1, 12):
        assert clock.step_at(sequence) == [step_us for first, step_us in steps if first <= sequence][-1]


def test_only_the_last_steps_are_remembered(clock: Clock) -> None:
    for step in range(1, 1_001):
        clock.record_step(step * SECOND_US, last_sequence=step)
    assert clock.step_at(1_000) == 999 * SECOND_US
    assert clock.step_at(1) == clock.step_at(901) == 900 * SECOND_US


def test_the_clock_of_the_process_agrees_with_the_system() -> None:
    clock = models.clock.Clock()
    before_us = time.time_ns() // 1_000
    assert abs(clock() - before_us) < 10 * SECOND_US
    assert clock() <= clock()
    assert clock.read_step() == 0
