"""How long to wait before trying again. Pure; belongs to no thread."""

import random
from collections.abc import Callable


class Backoff:
    """Exponential delays from `first_s` up to `longest_s` seconds, each ± 20 % jitter, until `reset`."""

    def __init__(self, *, first_s: float, longest_s: float, jitter: Callable[[], float] = random.random) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._jitter = jitter
        self._next_s = first_s

    def next_s(self) -> float:
        """The next delay in seconds; the one after it is twice as long."""
        delay_s = self._next_s * (0.8 + 0.4 * self._jitter())
        self._next_s = min(self._next_s * 2, self._longest_s)
        return delay_s

    def reset(self) -> None:
        self._next_s = self._first_s
