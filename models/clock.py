"""The clock of orders. Due times and durations use steady time, which never jumps. People read wall clock time.

Usable on any thread.
"""

import time
from collections.abc import Callable

MIN_STEP_US = 100_000
"""A step is a jump of the wall clock, because somebody has set it. A smaller change of the difference between the wall
clock and steady time, in microseconds, is not a step: the two clocks are not read at exactly the same moment."""
MAX_READ_US = 10_000
"""If it takes more microseconds than this to read both clocks, their times are not compared: the thread was probably
interrupted between the two readings."""
MAX_STEPS = 100
"""How many of the latest steps of the wall clock are remembered."""

# A clock that also runs while the system is suspended. On systems without CLOCK_BOOTTIME, such as macOS,
# CLOCK_MONOTONIC is such a clock.
_ELAPSED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def wall_us() -> int:
    """The time of the wall clock in microseconds since 1970, UTC, which jumps when somebody sets the clock."""
    return time.time_ns() // 1_000


def elapsed_us() -> int:
    """The time since a fixed moment in the past, in microseconds, which never jumps."""
    return time.clock_gettime_ns(_ELAPSED) // 1_000


class Clock:
    """Returns steady time when it is called. Also remembers the steps of the wall clock.

    Steady time is what the wall clock would show if nobody had set it since this object was constructed, in
    microseconds since 1970, UTC. The creation times of orders are wall clock time. To convert creation times to steady
    time, this object remembers for each step which orders were stored before the step.
    """

    def __init__(self, *, wall_us: Callable[[], int] = wall_us, elapsed_us: Callable[[], int] = elapsed_us) -> None:
        self._wall_us = wall_us
        self._elapsed_us = elapsed_us
        self._start_us = wall_us() - elapsed_us()
        self._earlier: tuple[tuple[int, int], ...] = ()
        """For each step, the sequence of the last order that was stored before the step, and the value of `step_us`
        before the step."""
        self.step_us = 0
        """The wall clock time minus the steady time, in microseconds, after the last step that was recorded; 0 before
        the first step."""

    def __call__(self) -> int:
        return self._start_us + self._elapsed_us()

    def wall_time(self) -> int:
        """The wall clock time in microseconds since 1970, UTC. Ignores changes that are too small to be a step."""
        return self() + self.read_step()

    def read_step(self) -> int:
        """The current wall clock time minus the current steady time; `step_us` if there was no new step."""
        before_us = self()
        step_us = self._wall_us() - before_us
        is_step = abs(step_us - self.step_us) >= MIN_STEP_US and self() - before_us <= MAX_READ_US
        return step_us if is_step else self.step_us

    def record_step(self, step_us: int, *, last_sequence: int) -> None:
        """Sets `step_us`. All orders with sequences up to `last_sequence` were stored before the step.

        Must always be called on the same thread.
        """
        self._earlier = (*self._earlier, (last_sequence, self.step_us))[-MAX_STEPS:]
        self.step_us = step_us

    @property
    def has_steps(self) -> bool:
        """Whether a step has been recorded."""
        return bool(self._earlier)

    def step_at(self, sequence: int) -> int:
        """What `step_us` was when the order with this sequence was stored; 0 if an earlier process stored the order."""
        for last_sequence, step_us in self._earlier:
            if sequence <= last_sequence:
                return step_us
        return self.step_us

    def steps_by_sequence(self) -> list[tuple[int, int]]:
        """Pairs of a sequence and the result of `step_at` from this sequence up to the next pair, in ascending order.

        The first pair begins with 0, which is lower than the sequence of any order.
        """
        firsts = [0, *(last_sequence + 1 for last_sequence, _ in self._earlier)]
        return list(zip(firsts, [*(step_us for _, step_us in self._earlier), self.step_us], strict=True))

    def accepted_us(self, sequence: int, created_us: int) -> int:
        """The steady time at which an order was accepted, computed from its sequence and its creation time."""
        return created_us - self.step_at(sequence)
