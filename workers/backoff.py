"""Exponential backoff with jitter. Usable on any thread."""

import random
from collections.abc import Callable


class Backoff:
    """Delays that begin at `first_s` seconds and double each time, up to `max_s` seconds, with ± 20 % jitter.

    `jitter` returns a number from 0 to 1.
    """

    def __init__(self, *, first_s: float, max_s: float, jitter: Callable[[], float] = random.random) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._jitter = jitter

    def delay_s(self, failures: int) -> float:
        """The delay in seconds after this number of consecutive failures. `failures` must be at least 1."""
        # The exponent is limited because 2.0 ** 1024 raises OverflowError.
        nominal_s = min(self._first_s * 2.0 ** min(failures - 1, 1_000), self._max_s)
        return min(nominal_s * (0.8 + 0.4 * self._jitter()), self._max_s)
